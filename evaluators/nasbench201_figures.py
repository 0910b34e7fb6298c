"""What is published of NAS-Bench-201's cells: accuracies, cost, scores at initialisation, devices, and attacks.

All tables have all cells in the order of their official index. ``archsearch/data/README.md`` says where every column
comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from archsearch.errors import UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

Published = Literal[
    "epe_nas",
    "fisher",
    "grad_norm",
    "grasp",
    "jacov",
    "l2_norm",
    "nwot",
    "plain",
    "snip",
    "synflow",
    "zen",
    "naswot_paper",
]
Computed = Literal["expressivity", "progressivity", "trainability", "vkdnw"]
"""Scores at initialisation that nobody published: ours, of networks of the published size that saw noise."""

HardwareDevice = Literal["edgegpu", "edgetpu", "eyeriss", "fpga", "pixel3", "raspi4"]
"""Devices of HW-NAS-Bench."""

HelpDevice = Literal[
    "1080ti_1",
    "1080ti_32",
    "1080ti_256",
    "2080ti_1",
    "2080ti_32",
    "2080ti_256",
    "titanx_1",
    "titanx_32",
    "titanx_256",
    "titanxp_1",
    "titanxp_32",
    "titanxp_256",
    "titan_rtx_1",
    "titan_rtx_32",
    "titan_rtx_256",
    "gold_6226",
    "gold_6240",
    "silver_4114",
    "silver_4210r",
    "pixel2",
    "essential_ph_1",
    "samsung_a50",
    "samsung_s7",
]
"""Devices of HELP; of GPUs the last number is the batch, and the latency that of the batch."""

Device = HardwareDevice | HelpDevice
Attack = Literal[
    "apgd_ce_eps0.1",
    "apgd_ce_eps0.5",
    "apgd_ce_eps1.0",
    "apgd_ce_eps2.0",
    "apgd_ce_eps3.0",
    "apgd_ce_eps4.0",
    "apgd_ce_eps8.0",
    "fgsm_eps0.1",
    "fgsm_eps0.5",
    "fgsm_eps1.0",
    "fgsm_eps2.0",
    "fgsm_eps3.0",
    "fgsm_eps4.0",
    "fgsm_eps5.0",
    "fgsm_eps6.0",
    "fgsm_eps7.0",
    "fgsm_eps8.0",
    "fgsm_eps255.0",
    "pgd_eps0.1",
    "pgd_eps0.5",
    "pgd_eps1.0",
    "pgd_eps2.0",
    "pgd_eps3.0",
    "pgd_eps4.0",
    "pgd_eps8.0",
    "square_eps0.1",
    "square_eps0.5",
    "square_eps1.0",
    "square_eps2.0",
    "square_eps3.0",
    "square_eps4.0",
    "square_eps8.0",
]
"""The 32 attacks of Jung et al. Their file's column without an attack is left out: it is of other networks."""

HAS_ENERGY = ("edgegpu", "eyeriss", "fpga")
"""Devices whose energy HW-NAS-Bench has."""

ZERO_COST: Mapping[str, tuple[str, ...]] = {
    "cifar10": get_args(Published),
    "ImageNet16-120": tuple(name for name in get_args(Published) if name != "naswot_paper"),
}
"""Published scores at initialisation, by data set."""

FACTOR = {"cifar10": 1.0, "cifar100": 2.0, "ImageNet16-120": 6.068}
"""Seconds per epoch relative to the 25,000 training images of the CIFAR-10 search split, by data set."""

CLASSIC = "cifar10"
"""The data set of HELP's latencies and of the attacks."""


class Figures(NamedTuple):
    """Which of the published figures are looked up.

    Attributes:
        dataset: One of ``FACTOR``, or another embedded table, which has no ``further`` figures.
        zero_cost: A score at initialisation in place of the accuracy, published or computed.
        device: Whose latency and energy are reported.
        attacks: Under which accuracies are reported.
    """

    dataset: str
    zero_cost: str | None
    device: str | None
    attacks: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """The files that are read."""
        further = {
            _file_of(self.zero_cost): self.zero_cost is not None,
            "nasbench201_hardware": self.device in get_args(HardwareDevice),
            "nasbench201_latency_gpu_cpu_phone": self.device in get_args(HelpDevice),
            "nasbench201_robustness": bool(self.attacks),
        }
        return ["nasbench201", *(name for name, wanted in further.items() if wanted)]

    def check(self) -> None:
        """Raises ``UsageError`` if there are no such figures."""
        dataset = self.dataset
        if self.zero_cost is not None:
            if dataset not in ZERO_COST:
                known = " and ".join(ZERO_COST)
                raise UsageError(f"Tabular: zero_cost: published for dataset={known}, not for {dataset}")
            known_scores = (*ZERO_COST[dataset], *get_args(Computed))
            _expect("zero_cost", self.zero_cost, known_scores, f" with dataset={dataset}")
        if self.device is not None:
            _expect("device", self.device, (*get_args(HardwareDevice), *get_args(HelpDevice)))
            known = ", ".join(FACTOR) if self.device in get_args(HardwareDevice) else CLASSIC
            if dataset not in known.split(", "):
                raise UsageError(f"Tabular: device: {self.device} is known for dataset={known}, not for {dataset}")
        for attack in self.attacks:
            _expect("attacks", attack, get_args(Attack))
        if self.attacks and dataset != CLASSIC:
            raise UsageError(f"Tabular: attacks: known for dataset={CLASSIC}, not for {dataset}")

    def rows(self, space: Space, epochs: int, run: int | str) -> dict[Architecture, Evaluation | None]:
        """All cells.

        Args:
            space: NAS-Bench-201.
            epochs: Length of the training whose accuracy is the score.
            run: A single run, or ``mean``.
        """
        prefix = self.dataset.lower().replace("-", "_")
        suffix = "" if run == "mean" else f"_seed{run}"
        needed = ("arch", "train_seconds_per_epoch", f"{prefix}_valid_acc_{epochs}{suffix}")
        columns = {
            "test_accuracy": f"{prefix}_test_acc_200",
            "params": f"{prefix}_params",
            "flops": f"{prefix}_flops",
            "latency_seconds": f"{prefix}_latency_seconds",
        }
        table = embedded_columns("nasbench201", (*needed, *columns.values()))
        texts, seconds, scores = (table[name] for name in needed)
        architectures = [space.parse(text) for text in texts]
        metrics = {name: table[column] for name, column in columns.items()}
        if self.device is not None:
            metrics.pop("latency_seconds")
            metrics |= _on_device(self.device, prefix)
        if self.attacks:
            metrics |= embedded_columns("nasbench201_robustness", self.attacks)
        factor = epochs * FACTOR[self.dataset]
        if self.zero_cost is not None:
            scores, factor = _zero_cost(space, architectures, self.zero_cost, prefix), 0.0
        rows: dict[Architecture, Evaluation | None] = {}
        figures = zip(*metrics.values(), strict=True)
        for cell, score, each, per_epoch in zip(architectures, scores, figures, seconds, strict=True):
            cost = Cost(recorded_seconds=factor * per_epoch) if factor else NO_COST
            known = {name: value for name, value in zip(metrics, each, strict=True) if value is not None}
            rows[cell] = None if score is None else Evaluation(score, known, cost)
        return rows


def _expect(setting: str, given: str, known: Sequence[str], when: str = "") -> None:
    if given not in known:
        raise UsageError(f"Tabular: {setting}: expected one of {', '.join(known)}{when}, got {given!r}")


def _on_device(device: str, prefix: str) -> dict[str, list[Any]]:
    """A device's latency and energy, in seconds and joules."""
    if device in get_args(HelpDevice):
        column = f"{device}_latency_ms"
        table = embedded_columns("nasbench201_latency_gpu_cpu_phone", (column,))
        return {"latency_seconds": [value / 1_000 for value in table[column]]}
    columns = {"latency_seconds": f"{prefix}_{device}_latency_ms"}
    if device in HAS_ENERGY:
        columns["energy_joules"] = f"{prefix}_{device}_energy_mj"
    table = embedded_columns("nasbench201_hardware", tuple(columns.values()))
    return {
        name: [None if value is None else value / 1_000 for value in table[column]] for name, column in columns.items()
    }


def _file_of(score: str | None) -> str:
    """The file that holds a score at initialisation."""
    return "nasbench201_zerocost_computed" if score in get_args(Computed) else "nasbench201_zerocost"


def _zero_cost(space: Space, architectures: Sequence[Architecture], score: str, prefix: str) -> list[float | None]:
    """A score at initialisation of all cells; of those without one, that of the cell without what changes nothing."""
    column = score if score in get_args(Computed) else f"{prefix}_{score}"
    scores: list[float | None] = embedded_columns(_file_of(score), (column,))[column]
    # Kinds of operations are options counted from the one after ``none``.
    pruned = space.operation_graphs(architectures).pruned().labels[:, 1:-1] + 1
    known = dict(zip(architectures, scores, strict=True))
    return [known[tuple(cell)] if found is None else found for found, cell in zip(scores, pruned.tolist(), strict=True)]
