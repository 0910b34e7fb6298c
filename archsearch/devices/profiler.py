"""Profile: the latency table of a space on a device, measured block by block, and checked by whole networks.

    table = profile(MobileNet(), Training("digits"), "phone.parquet", device="cpu", runtime="onnxruntime")
    search(MobileNet(), ..., limits={"latency_seconds": 0.002}, latency_table="phone.parquet")

References: Cai, Zhu & Han, "ProxylessNAS", ICLR 2019, appendix B, and Wu et al., "FBNet", CVPR 2019, section 3.2.3
(tables whose sums are latencies).
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.basics.seeding import root_seed, stream
from archsearch.components import describe
from archsearch.devices.correction import Fit, Judged, additive, fitted, judged
from archsearch.devices.energy import joules_each
from archsearch.devices.result import Profile
from archsearch.devices.rows import added, by_decision, discover
from archsearch.devices.runtimes import Part, Runtime, make_runtime, processor_name, with_values
from archsearch.devices.timing import Clock, Seconds, in_turn
from archsearch.errors import UsageError
from archsearch.evaluator import Built, Evaluator
from archsearch.executors.counters import counter_of
from archsearch.files.parquet import to_parquet
from archsearch.files.writing import write_whole
from archsearch.limits.composition import Composition
from archsearch.limits.latency import FACTS
from archsearch.networks.blocks import Shaped
from archsearch.space import Space
from archsearch.trial import Architecture

MAX_DRAWS = 100
"""Draws for each different network that is wanted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measuring:
    """How a device is measured.

    Args:
        device: Where networks run: cpu, cuda, cuda:1.
        runtime: What runs them: pytorch, or onnxruntime, which needs archsearch[onnx].
        threads: Of the processor, >= 1.
        batch: Examples in a pass, >= 1.
        clock: wall, for a device that does nothing else; processor, the time of this thread alone, for one that is
            shared (one thread, no GPU).
        quantile: Of the rounds, which is the figure: 0.5, the median; on a shared machine, where disturbances only add,
            less, such as 0.25; above 0.
        warm_up: Calls of each block and network that do not count, >= 1.
        repeats: Rounds; each measures every block and network once, >= 1.
        networks: Random networks that are measured whole, to judge the table by, >= 2.
        fit: Further ones that its correction is fitted to; 0 for no correction.
        seed: Draws networks and values.

    Raises:
        UsageError: If a setting is out of range.
    """

    device: str = "cpu"
    runtime: str = "pytorch"
    threads: int = 1
    batch: int = 1
    clock: Clock = "wall"
    quantile: float = 0.5
    warm_up: int = 3
    repeats: int = 20
    networks: int = 50
    fit: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("threads", "batch", "warm_up", "repeats"):
            at_least_one("profile", name, getattr(self, name))
        number("profile", "quantile", self.quantile, above=0, high=0.5)
        whole_number("profile", "networks", self.networks, 2)
        whole_number("profile", "fit", self.fit, 0)
        root_seed(self.seed)
        if self.clock not in get_args(Clock):
            raise UsageError(f"profile: clock: expected one of {', '.join(get_args(Clock))}, got {self.clock!r}")
        if self.clock == "processor" and (self.threads > 1 or self.device.startswith("cuda")):
            raise UsageError(
                "profile: clock: the processor's time is that of one thread alone, it says nothing of "
                f"{'a GPU' if self.device.startswith('cuda') else f'{self.threads} threads'}; use clock=wall"
            )


def profile(
    space: Space,
    evaluator: Evaluator,
    out: str | Path,
    measuring: Measuring | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Profile:
    """Measures the blocks of a space's networks, and writes the table that ``latency_table`` reads.

    Args:
        space: A trainable one.
        evaluator: Says how its networks are built: for which task, with which skeleton. It is started, and scores
            nothing.
        out: The file, which ends in .parquet.
        measuring: How; None: as ``options`` say.
        on_progress: Told what is done, steps done, steps in all.
        **options: Fields of ``Measuring``.

    Raises:
        UsageError: If the device, the runtime or a setting is none, or the evaluator builds no networks.
    """
    how = Measuring(**options) if measuring is None else measuring
    path = Path(out)
    if path.suffix != ".parquet":
        raise UsageError(f"profile: out: expected a file that ends in .parquet, got {str(out)!r}")
    runtime = make_runtime(how.runtime, how.device, how.threads)
    evaluator.start(space)
    built = evaluator.built
    if built is None:
        raise UsageError(
            f"profile: {type(evaluator).__name__} builds no networks; give an evaluator that does, such as "
            "--evaluator Training --evaluator.task digits"
        )
    return _Profiler(space, built, runtime, how, on_progress or (lambda *_: None)).run(path)


class _Profiler:
    """One measurement, step by step."""

    def __init__(
        self, space: Space, built: Built, runtime: Runtime, how: Measuring, on_progress: Callable[[str, int, int], None]
    ) -> None:
        self._space = space
        self._built = built
        self._runtime = runtime
        self._how = how
        self._say = on_progress
        self._composition = Composition(space, built, how.batch)
        self._energy: dict[str, Any] | None = None

    def run(self, path: Path) -> Profile:
        how, composition = self._how, self._composition
        rng = stream(how.seed, "profile")
        discover(self._space, composition, rng)
        networks = self._draw(how.fit + how.networks, rng)
        counts = [composition.count(architecture) for architecture in networks]
        keys = list(composition.blocks)
        times = self._measure(keys, networks, rng)
        empty, blocks, whole = times[0], times[1 : 1 + len(keys)], times[1 + len(keys) :]
        # A call that computes nothing takes time, too; a network has it once.
        alone = {key: max(0.0, each.value - empty.value) for key, each in zip(keys, blocks, strict=True)}
        fit = self._fitted(counts[: how.fit], alone, whole[: how.fit], empty.value)
        seconds = {key: fit.block(composition.blocks[key].kind, alone[key]) for key in keys}
        measured = np.array([each.value for each in whole[how.fit :]])
        sums, predicted = (
            np.array([constant + added(each, table) for each in counts[how.fit :]])
            for constant, table in ((empty.value, alone), (fit.fixed, seconds))
        )
        judgements = judged(sums, measured), judged(predicted, measured)
        rows = self._rows(fit, seconds, dict(zip(keys, blocks, strict=True)), empty)
        facts = self._facts(fit, judgements, measured, networks[how.fit :])
        _write(path, rows, facts)
        return Profile(path, facts, *judgements, measured.tolist(), predicted.tolist())

    def _draw(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Different networks, as many as wanted, but those that do not look at their input: runtimes may skip them."""
        drawn: set[Any] = set()
        found: list[Architecture] = []
        for _ in range(MAX_DRAWS * n):
            if len(found) == n:
                return found
            architecture = self._space.sample(rng)
            name = self._space.canonical(architecture)
            if name not in drawn:
                drawn.add(name)
                if self._looks(architecture):
                    found.append(architecture)
        raise UsageError(
            f"profile: networks, fit: expected together at most as many as {type(self._space).__name__} has different "
            f"ones, of which {len(found)} were found, got {n}"
        )

    def _part(self, architecture: Architecture) -> Part:
        """A network as a whole."""
        import torch

        with torch.device("meta"):
            network = self._composition.network(architecture)
        return Part(network, (Shaped((self._how.batch, *self._built.input_shape), network.input_dtype),), {})

    def _looks(self, architecture: Architecture) -> bool:
        """Whether what a network computes depends on its input."""
        import torch

        network, (inputs,), _ = with_values(self._part(architecture), "cpu", self._how.seed)
        with torch.no_grad():
            return not inputs.dtype.is_floating_point or not torch.equal(network(inputs), network(inputs * -2 + 1))

    def _measure(self, keys: list[str], networks: list[Architecture], rng: np.random.Generator) -> list[Seconds]:
        """Seconds of a call that computes nothing, of each block, and of each network."""
        how, runtime = self._how, self._runtime
        blocks = [self._composition.blocks[key] for key in keys]
        parts = [Part(block.module, block.arguments, block.keywords) for block in blocks]
        parts += map(self._part, networks)
        with runtime.session():
            calls = runtime.calls(parts, how.seed, lambda done: self._say("preparing", done, len(parts)))
            times = in_turn(
                [runtime.empty(), *calls],
                clock=how.clock,
                quantile=how.quantile,
                warm_up=how.warm_up,
                repeats=how.repeats,
                synchronise=runtime.synchronise,
                rng=rng,
                on_round=lambda done: self._say("measuring", done, how.repeats),
            )
            counter = counter_of(how.device)
            if counter is not None:
                joules = joules_each(calls[len(keys) :][-how.networks :], counter, runtime.synchronise)
                self._energy = {"joules": joules, "counter": counter.name}
        return times

    def _fitted(
        self, counts: list[Counter[str]], alone: Mapping[str, float], whole: list[Seconds], empty: float
    ) -> Fit:
        if not counts:
            return additive(empty)
        sums = []
        for each in counts:
            by_kind: Counter[str] = Counter()
            for key, times in each.items():
                by_kind[self._composition.blocks[key].kind] += times * alone[key]  # type: ignore[assignment]
            sums.append(by_kind)
        measured = np.array([each.value for each in whole])
        return fitted(sums, [each.total() for each in counts], measured, empty)

    # -- the file --------------------------------------------------------------------------------

    def _rows(
        self, fit: Fit, seconds: Mapping[str, float], blocks: Mapping[str, Seconds], empty: Seconds
    ) -> dict[str, list[Any]]:
        tried = by_decision(self._space, self._composition.count, stream(self._how.seed, "rows"))
        if tried is None:
            rows = [{"block": "", "name": "fixed", "kind": "", **_figures(fit.fixed, [(1, empty)])}]
            for key, value in seconds.items():
                block = self._composition.blocks[key]
                figures = _figures(value, [(1, blocks[key])])
                rows.append({"block": key, "name": block.name, "kind": block.kind, **figures})
        else:
            rows = []
            for (decision, option), counts in tried.items():
                total = added(counts, seconds) + (0.0 if decision else fit.fixed)
                figures = _figures(total, [(times, blocks[key]) for key, times in counts.items()])
                rows.append({"decision": decision, "option": option, **figures})
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _facts(
        self, fit: Fit, judgements: tuple[Judged, Judged], measured: np.ndarray[Any, Any], networks: list[Architecture]
    ) -> dict[str, Any]:
        how = dataclasses.asdict(self._how)
        sums, corrected = judgements
        memory = [self._composition.bytes(architecture) for architecture in networks]
        return {
            "space": describe(self._space),
            "built": self._built._asdict() | {"skeleton": dict(self._built.skeleton)},
            **how,
            "version": self._runtime.version,
            "processor": processor_name(),
            "blocks": len(self._composition.blocks),
            "sums": sums._asdict(),
            "corrected": corrected._asdict(),
            "correction": fit._asdict() | {"factors": dict(fit.factors)},
            "bytes": {name: float(np.median([each[name] for each in memory])) for name in memory[0]},
            "energy": self._energy,
            "range_seconds": [float(measured.min()), float(measured.max())],
        }


def _figures(seconds: float, parts: list[tuple[int, Seconds]]) -> dict[str, float]:
    """What a row has besides its name: what counts, and what was measured of its parts."""
    return {
        "seconds": seconds,
        "measured_seconds": sum(times * each.value for times, each in parts),
        "low_seconds": sum(times * each.low for times, each in parts),
        "high_seconds": sum(times * each.high for times, each in parts),
    }


def _write(path: Path, rows: Mapping[str, list[Any]], facts: Mapping[str, Any]) -> None:
    import pyarrow as pa

    table = pa.table(dict(rows)).replace_schema_metadata({FACTS: json.dumps(facts).encode()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_parquet(table))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
