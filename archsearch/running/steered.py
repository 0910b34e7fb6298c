"""A search that others steer while it runs: what each verb of ``archsearch control`` does to it.

Threads of the door answer. What only the search itself may touch is done by it, as an errand, between two results;
whoever asked waits a moment for that. While nobody asks, a search pays for all this with one look at a flag a turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from archsearch.basics.checks import at_least_one
from archsearch.basics.texts import name_of
from archsearch.errors import UsageError
from archsearch.executors.evaluating import finished
from archsearch.executors.executor import Outcome
from archsearch.limits import Limit, checked_limits
from archsearch.limits.ranges import range_of
from archsearch.running.replay import Resumable
from archsearch.steering.advisers import read_architecture
from archsearch.steering.door import Door
from archsearch.steering.interrupts import Interrupts
from archsearch.steering.orders import Steering
from archsearch.trial import Trial

CANCELLED = "cancelled by hand"
ERRAND_SECONDS = 5.0
"""How long who asks for an errand waits for it."""
LOOK_SECONDS = 0.5
"""Between two looks whether somebody asks, where a search waits for results; and while it is paused."""
SHOWN = 100
"""Pending trials that are shown."""


class Steered(Resumable):
    """A course that others steer."""

    steering: Steering
    _interrupts: Interrupts
    _door: Door | None = None

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Inside, the search is heard of by others, if it has a folder."""
        folder = self.history.folder
        if folder is None:
            yield
            return
        self.steering.keep_in(folder.path, folder.notices)
        try:
            self._door = Door(folder.path, self._answer)
        except (UsageError, OSError) as error:  # a file system without sockets: a search needs none
            self.say(f"this search cannot be reached by 'archsearch control': {error}")
        try:
            yield
        finally:
            if self._door is not None:
                self._door.close()
                self._door = None
            if self.steering.orders:
                self.say(
                    f"{len(self.steering.orders):,} orders by 'archsearch control' came too late for this session; "
                    "they are the first of the next"
                )

    def begun_with(self, config: Mapping[str, Any], anew: Mapping[str, Any]) -> None:
        """Of a run that goes on: how many results it was told, and the settings given anew, which hold."""
        self.told = (config.get("told") or {}).get("trials", 0)
        other = getattr(self.executor, "workers", 1) != config["workers"]  # an executor was given anew
        self.steering.kept = frozenset(name for name in anew if anew[name] or (name == "workers" and other))

    # -- by threads of the door ------------------------------------------------------------------

    def _answer(self, verb: str, value: Any) -> Mapping[str, Any]:
        """The answer to a verb.

        Raises:
            ArchsearchError: If it cannot be as asked.
        """
        answers: dict[str, Callable[[Any], str]] = {
            "pause": self._pause,
            "resume": self._go_on,
            "stop": self._end,
            "put": self._put,
            "limits": self._limit_from_outside,
            "cancel": self._cancel,
            "workers": lambda value: self._errand(lambda: self._set_workers(value)),
            "timeout": lambda value: self._errand(lambda: self._set_timeout(value)),
        }
        if verb == "show":
            return self._shown()
        if verb not in answers:
            raise UsageError(f"expected one of {', '.join(answers)} or show, got {verb!r:.40}")
        return {"said": answers[verb](value)}

    def _pause(self, _value: Any) -> str:
        self.steering.paused = True
        self.steering.wake()
        return f"paused: nothing is proposed until resume; {self._how_many()} pending"

    def _go_on(self, _value: Any) -> str:
        self.steering.paused = False
        self.steering.wake()
        return "it ends: it was told to stop" if self.steering.ending else "it goes on"

    def _end(self, _value: Any) -> str:
        self.steering.ending = True
        self.steering.wake()
        return f"nothing more is proposed; it ends when what is pending has ended ({self._how_many()})"

    def _how_many(self) -> str:
        pending = len(self._pending)
        return f"{pending:,} trial{'s' if pending != 1 else ''}"

    def _put(self, value: Any) -> str:
        architecture = read_architecture(self.space, value)
        order = self.steering.take("put", list(architecture))
        ahead = sum(each.verb == "put" and each.number < order.number for each in tuple(self.steering.orders))
        when = f"after {ahead:,} that were put before" if ahead else "next"
        return f"put, to be proposed {when}: {name_of(self.space, architecture)}"

    def _limit_from_outside(self, value: Any) -> str:
        if not isinstance(value, Mapping) or not value:
            raise UsageError("limits: expected names and numbers, such as flops=3e8")
        given = checked_limits({name: limit for name, limit in value.items() if limit is not None}) or {}
        return self._errand(lambda: self._order_limits({name: given.get(name) for name in value}))

    def _order_limits(self, value: dict[str, Limit | None]) -> str:
        """By the search, since whether something can be limited is for the evaluator to say."""
        self._limits_with(value)
        self.steering.take("limits", value)
        said = (f"{name} no more" if limit is None else range_of(limit).of(name) for name, limit in value.items())
        return f"from the next proposal on: {', '.join(said)}"

    def _cancel(self, value: Any) -> str:
        if type(value) is not int or value not in self._pending:
            some = ", ".join(map(str, sorted(dict(self._pending))[:10])) or "none"
            raise UsageError(f"cancel: expected the id of a pending trial ({some}), got {value!r:.20}")
        self.steering.cancelled.add(value)
        if self.executor.interrupt(value):
            return f"trial {value} is ended"
        self.steering.cancelled.discard(value)
        if self.executor.stuck_in(value):
            raise UsageError(
                f"cancel: trial {value} is evaluated in the search's own process, which nothing can end but the "
                "evaluation itself; begin a search by isolate=True (--isolate) to be able to"
            )
        return self._errand(lambda: self._drop(value))

    def _errand(self, work: Callable[[], str]) -> str:
        errand = self.steering.send(work)
        if not errand.wait(ERRAND_SECONDS):
            return "noted; it is done as soon as what the search is at has ended"
        if errand.error is not None:
            raise errand.error
        return errand.answer

    def _shown(self) -> dict[str, Any]:
        steering, settings = self.steering, self.settings
        state = "ending" if steering.ending else "paused" if steering.paused else "running"
        put = [order.value for order in tuple(steering.orders) if order.verb == "put"]
        jobs = list(dict(self._pending).values())[:SHOWN]
        names = [name_of(self.space, job.architecture) for job in jobs]
        return {
            "said": f"{state}; {self.completed:,} completed, {self.failed:,} failed, {self._how_many()} pending",
            "state": state,
            "completed": self.completed,
            "failed": self.failed,
            "pending": [{"trial": job.id, "name": name} for job, name in zip(jobs, names, strict=True)],
            "put": [name_of(self.space, tuple(architecture)) for architecture in put],
            "limits": dict(self._limits),
            "timeout": settings.timeout,
            "workers": getattr(self.executor, "workers", 1),
        }

    # -- by the search ---------------------------------------------------------------------------

    def _heed_others(self) -> None:
        """Does what others ask for; waits while it is paused and nothing is pending."""
        steering = self.steering
        steering.run_errands()
        while steering.holds and not self._pending and self._stopped is None:
            if steering.ending:
                self._stopped = "control"
                return
            began = time.monotonic()
            self._interrupts.call(lambda: steering.wait(LOOK_SECONDS))
            self.executor.skip(time.monotonic() - began)  # a pause is no part of the run's time
            steering.run_errands()

    def _until(self) -> float:
        """Until when to wait for results: the end, or the next look."""
        end = self._limit("max_seconds")
        return min(end, self.executor.now() + LOOK_SECONDS) if self._door else end

    def _drop(self, id_: int) -> str:
        """Has a pending trial fail, whatever becomes of its evaluation."""
        job = self._pending.get(id_)
        if job is None:
            raise UsageError(f"cancel: trial {id_} has ended meanwhile")
        seconds = self.executor.drop(id_)
        self._dropped.add(id_)
        self._record([finished(job, Outcome(None, seconds, "cancelled", CANCELLED), job.asked_at, 0)])
        return f"trial {id_} is ended"

    def _record(self, done: list[Trial]) -> None:
        """See ``Search``."""
        raise NotImplementedError

    def _without_cancelled(self, trials: list[Trial]) -> tuple[list[Trial], list[Trial]]:
        """Trials that came, without those that were cancelled; and of these the ones that are still to be recorded."""
        steering = self.steering
        done = [each for each in trials if each.id in steering.cancelled and each.failure]
        steering.cancelled.difference_update(each.id for each in trials)
        others = [each for each in trials if each not in done and each.id not in self._dropped]
        return others, [each._replace(failure="cancelled", error=CANCELLED) for each in done]

    def _set_workers(self, value: Any) -> str:
        workers = at_least_one("control", "workers", value)
        self.executor.resize(workers)
        self.steering.change("workers", workers)
        return f"{workers:,} worker{'s' if workers > 1 else ''} from now on"

    def _set_timeout(self, value: Any) -> str:
        settings = dataclasses.replace(self.settings, timeout=value)
        self.executor.set_timeout(settings.timeout)
        self.settings = settings
        self.steering.change("timeout", settings.timeout)
        return "no time-out from now on" if value is None else f"a time-out of {settings.timeout:g} s from now on"

    def _take_up_settings(self) -> None:
        """Of a run that goes on: what was changed while it ran holds, where nothing else was asked for."""
        changed = self.steering.settings
        with contextlib.suppress(UsageError):  # another executor than then
            if "workers" in changed:
                self.executor.resize(changed["workers"])
        if "timeout" in changed:
            self.settings = dataclasses.replace(self.settings, timeout=changed["timeout"])
            self.executor.timeout = self.settings.timeout
