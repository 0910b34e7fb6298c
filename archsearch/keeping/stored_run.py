"""The folder of a run, read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archsearch.errors import RunFolderError
from archsearch.files.checksums import Damaged, open_json
from archsearch.files.damage import readable, text
from archsearch.files.parquet import read_parquet
from archsearch.keeping.columns import lost_seconds, table_to_trials, trials_to_table
from archsearch.keeping.events import remembered_trials
from archsearch.keeping.journal import Gap
from archsearch.keeping.stored import Stored
from archsearch.space import Space
from archsearch.trial import NO_COST, Cost, Trial

if TYPE_CHECKING:
    import pyarrow as pa

FAULTS_FILE = "faults.jsonl"


class StoredRun(Stored):
    """The folder of a run, read: its trials, whatever they cost, and what went wrong."""

    def table(self, space: Space | None) -> pa.Table:
        """All trials on disk as an Arrow table, newest ones included; may be read while the run goes on.

        Args:
            space: Writes the names of the newest trials; None: their options stand for these.

        Raises:
            RunFolderError: If what is there is no history of a search.
        """
        import pyarrow as pa

        with readable(self._trials):
            tables: list[pa.Table] = []
            newest: list[Trial] = []
            for found in self._found(0):
                if isinstance(found, Trial):
                    newest.append(found)
                else:
                    tables.append(found)
            known = {trial.architecture: space is None or trial.architecture in space for trial in newest}
            strange = [trial.id for trial in newest if not known[trial.architecture]]
            if strange:
                what = f"has {len(strange):,} trials whose architecture is not in the space; they are passed over"
                self.notices.tell(self._journals, what)
            tables.append(trials_to_table([trial for trial in newest if known[trial.architecture]], space))
            try:
                return pa.concat_tables(tables, promote_options="default")
            except pa.ArrowException as error:
                raise RunFolderError(f"{self._trials}: its parts do not go together: {error}") from None

    def trials(self, seed: int) -> Iterator[Trial]:
        """All trials on disk, one part in memory at a time."""
        for found in self._found(seed):
            if isinstance(found, Trial):
                yield found
            else:
                with readable(self._trials):
                    yield from table_to_trials(found, seed)

    def _found(self, seed: int) -> Iterator[pa.Table | Trial]:
        """All trials on disk: parts as tables, then the newest ones; what is missing is told."""
        number, state = self._newest_sound_state()
        rows = 0
        for part in self._parts_of(number, state):
            if (table := self._part(part)) is not None:
                rows += table.num_rows
                yield table
        if state is not None:
            self.lost = max(0, state["completed"] + state["failed"] - rows)
            if self.lost and "parts" not in state and not self.notices.lines:
                self.notices.tell(
                    self._trials, f"lacks {self.lost:,} of the trials that its state has counted: they are lost"
                )
        seen: set[int] = set()
        for event in self._events(self._sources(number), number, seed):
            if isinstance(event, Gap):
                self._tell_of_gap(event)
            elif isinstance(event, Trial) and event.id not in seen:
                seen.add(event.id)
                yield event
        for trial in remembered_trials(state, seed):
            if trial.id not in seen:
                yield trial

    def _tell_of_gap(self, gap: Gap) -> None:
        if gap.state:
            if not self._numbers("state"):  # else it was told
                self.notices.tell(self._journals, "has no state of the search any more; its trials are not lost")
            return
        if gap.torn:
            self.notices.tell(gap.path, "ends in the middle of a line, which is lost")
            return
        lines = f"{gap.lines:,} line{'s' if gap.lines != 1 else ''}"
        self.notices.tell(gap.path, f"is damaged ({gap.why}): at least {lines} lost, the rest is not")

    def part_trials(self, seed: int) -> Iterator[Trial]:
        """The trials in the parts of the newest state, without those that are only in the journal."""
        number, state = self._newest_sound_state()
        for part in self._parts_of(number, state):
            if (table := self._part(part)) is not None:
                yield from table_to_trials(table, seed)

    def setup_cost(self) -> Cost:
        """Cost of the evaluator's one-off work so far: its preparation, and what it learnt on the way."""
        number, state = self._newest_sound_state()
        prepared = Cost(*state["setup_cost"]) if state else NO_COST
        learnt = Cost(*state["advances"]["cost"]) if state and state.get("advances") else NO_COST
        for event in self._events(self._sources(number), number, 0):
            if not isinstance(event, list):
                continue
            if event[0] == "s":
                prepared = Cost(*event[1:])
            elif event[0] == "v":
                learnt += Cost(*event[2:])
        return prepared + learnt

    def pending_cost(self) -> Cost:
        """Cost of the tries that failed of trials which are not finished, and so in no table yet."""
        number, state = self._newest_sound_state()
        lost: dict[int, float] = {job[0]: lost_seconds(job) for job in (state["pending"] if state else ())}
        for event in self._events(self._sources(number), number, 0):
            if isinstance(event, Trial):
                lost.pop(event.id, None)
            elif isinstance(event, list) and event[0] == "f":
                lost[event[1]] = event[4]
        seconds = sum(lost.values())
        return Cost(wall_seconds=seconds, failed_seconds=seconds)

    def pending(self) -> int:
        """Trials that were asked for and are not finished; a search with one trial at a time notes none."""
        number, state = self._newest_sound_state()
        asked: set[int] = {job[0] for job in (state["pending"] if state else ())}
        for event in self._events(self._sources(number), number, 0):
            if isinstance(event, Trial):
                asked.discard(event.id)
            elif isinstance(event, list) and event[0] == "a":
                asked.update(job[0] for job in event[3])
        return len(asked)

    def advanced(self) -> bool:
        """Whether the evaluator has learnt on during the search."""
        number, state = self._newest_sound_state()
        later = self._events(self._sources(number), number, 0)
        return any(((state or {}).get("advances") or {}).get("cost") or ()) or any(
            isinstance(event, list) and event[0] == "v" for event in later
        )

    def thinned(self) -> int | None:
        """Proposals that were refused as likely to fail when the newest state was written; None: there is none."""
        _, state = self._newest_sound_state()
        refused: int | None = (state or {}).get("thinning", {}).get("refused")
        return refused

    def race(self) -> Mapping[str, Any] | None:
        """What was noted of the newest race of the best against each other when it began; None: there was none."""
        number, state = self._newest_sound_state()
        race: Mapping[str, Any] | None = (state or {}).get("race")
        for event in self._events(self._sources(number), number, 0):
            if isinstance(event, list) and event[0] == "r":
                race = event[2]
        return race

    def fault_lines(self) -> Iterator[dict[str, Any]]:
        """What went wrong, over all sessions of the run: each sound line of ``faults.jsonl``, which has a ``kind``."""
        path, bad = self.path / FAULTS_FILE, 0
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                fault = open_json(line, sealed=False)
                text(fault["kind"])
            except (Damaged, KeyError):  # also half-written, on a full disk
                bad += 1
            else:
                yield fault
        if bad:
            self.notices.tell(path, f"has {bad:,} damaged line{'s' if bad != 1 else ''}, which are not counted")

    def faults(self) -> Counter[str]:
        """How often what went wrong, by its kind."""
        return Counter(text(fault["kind"]) for fault in self.fault_lines())

    # -- verifications: beside the search, which may be running --------------------------------------

    def verifications(self) -> pa.Table | None:
        """All that was scored again, one row per architecture and verification; None if nothing was."""
        import pyarrow as pa

        tables = [table for number in self._numbers("verified") if (table := self.verification(number)) is not None]
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def verification(self, number: int) -> pa.Table | None:
        """What a verification has found; None if it is not done, or damaged."""
        try:
            return read_parquet(self._name("verified", number))
        except Damaged:
            return None


NOTE = "note.txt"
"""File in the evaluator's folder that holds its note."""
