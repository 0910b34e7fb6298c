"""What each candidate of a relaxed network costs: multiply-adds, parameters, or milliseconds by a table."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from archsearch.errors import MissingAbility
from archsearch.limits import LatencyTable
from archsearch.networks.multiply_adds import MultiplyAddCounter, multiply_adds
from archsearch.networks.network import Network, Weights
from archsearch.relaxing import NONE, MixesKernels, Relaxable, Relaxed, RelaxedChoice
from archsearch.space import Space


class CandidateCosts(NamedTuple):
    """What an architecture costs, as a sum: multiply-adds of one image, or what else is counted.

    Attributes:
        fixed: Of what is not chosen.
        candidates: Of each candidate of each choice; of multiply-adds and parameters ``none`` has none.
    """

    fixed: float
    candidates: tuple[tuple[float, ...], ...]

    def of(self, weights: Sequence[Weights]) -> float:
        """Of a pass with these weights: of all candidates that have one.

        Those behind a place that nothing but ``none`` reaches are counted, too, although they need not run.
        """
        return self.fixed + sum(
            costs[option] for costs, some in zip(self.candidates, weights, strict=True) for option in some
        )

    def expected(self, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over architectures that are drawn choice by choice, as strong as each candidate is."""
        total = torch.tensor(float(self.fixed), dtype=torch.float64)
        for costs, some in zip(self.candidates, strengths, strict=True):
            shares = some.double() / some.double().sum()
            total = total.to(shares) + shares @ torch.tensor(costs, dtype=torch.float64, device=shares.device)
        return total


def candidate_costs(
    network: Network,
    choices: Sequence[RelaxedChoice],
    input_shape: tuple[int, ...],
    of: Literal["flops", "params"] = "flops",
) -> CandidateCosts:
    """What each candidate costs, found by adding it to a pass through one candidate of each choice.

    Args:
        network: A relaxed super-network.
        choices: Of its space.
        input_shape: Of one example.
        of: flops, multiply-adds of one image, or params, trainable parameters of what the pass goes through.
    """
    some: list[int] = [_cheap(choice) for choice in choices]
    base: list[Weights] = [{option: 1.0} for option in some]
    # Mixed kernels cost as much as one: there candidates are counted alone, and by how much more than the cheapest.
    alone_only, found = isinstance(network, MixesKernels), []
    with _counting(network, choices, input_shape, of) as cost:
        alone = cost(base)
        for i, choice in enumerate(choices):
            costs, changed = [], list(base)
            others = [j for j in range(len(choice.candidates)) if j != some[i]]
            for option, name in enumerate(choice.candidates):
                if name == NONE or not others or (alone_only and option == some[i]):
                    costs.append(0)
                elif alone_only:
                    changed[i] = {option: 1.0}
                    costs.append(cost(changed) - alone)
                elif option == some[i]:  # by how much more both cost than the other one alone
                    other = next((j for j in others if j != choice.none), others[0])
                    changed[i] = {other: 1.0}
                    without = cost(changed)
                    changed[i] = {other: 1.0, option: 1.0}
                    costs.append((alone if other == choice.none else cost(changed)) - without)
                else:
                    changed[i] = {some[i]: 1.0, option: 1.0}
                    costs.append(cost(changed) - alone)
            found.append(tuple(costs))
    return CandidateCosts(alone - sum(own[option] for own, option in zip(found, some, strict=True)), tuple(found))


def _cheap(choice: RelaxedChoice) -> int:
    """A candidate through which everything behind it is reached."""
    if choice.skip is not None:
        return choice.skip
    return next(i for i in range(len(choice.candidates)) if i != choice.none or len(choice.candidates) == 1)


@contextlib.contextmanager
def _counting(
    network: Network,
    choices: Sequence[RelaxedChoice],
    input_shape: tuple[int, ...],
    of: Literal["flops", "params"],
) -> Iterator[Callable[[Sequence[Weights]], int]]:
    """Inside, a function that says what a pass with some weights costs, in evaluation mode.

    Counting multiply-adds looks at each operation, which takes longer than the pass; so it is done once, for all
    candidates, and a pass costs what its calls of modules cost. A pass is counted itself where one of its calls is
    unknown, and all are where a call does not cost the same each time.
    """
    passes: list[list[Weights]] = [[dict.fromkeys(range(len(choice.candidates)), 1.0) for choice in choices]]
    if isinstance(network, MixesKernels):
        longest = max(len(choice.candidates) for choice in choices)
        passes = [[{min(i, len(choice.candidates) - 1): 1.0} for choice in choices] for i in range(longest)]
    mixed = Mixed(network, passes[0])
    image = torch.zeros(1, *input_shape, dtype=network.input_dtype, device=next(network.parameters()).device)
    training = network.training
    network.eval()
    calls: Counter[_Call] = Counter()

    def cost(weights: Sequence[Weights]) -> int:
        if own is None:
            return multiply_adds(Mixed(network, weights), input_shape)
        calls.clear()
        mixed.mixing = weights
        with torch.no_grad():
            mixed(image)
        if of == "params":
            return sum(own[module] for module in {_Call(call.module, ()) for call in calls})
        if any(call not in own for call in calls):
            return multiply_adds(Mixed(network, weights), input_shape)
        return sum(own[call] * n for call, n in calls.items())

    hooks: list[Any] = []
    try:
        own = _own_multiply_adds(mixed, image, passes, hooks) if of == "flops" else _own_parameters(mixed)
        hooks += [
            module.register_forward_pre_hook(lambda *call: calls.update((_call(*call),)), with_kwargs=True)
            for module in mixed.modules()
        ]
        yield cost
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


class _Call(NamedTuple):
    """Of a module, with the shapes of what it was given."""

    module: nn.Module
    given: tuple[Any, ...]


def _call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    return _Call(module, tuple(_shape(each) for each in (*args, *kwargs.values())))


def _shape(given: Any) -> Any:
    """What the cost of a call depends on; weights of candidates say which modules are called, and these count."""
    if isinstance(given, torch.Tensor):
        return given.shape
    return given if isinstance(given, (int, str)) else None


def _own_parameters(network: nn.Module) -> dict[_Call, int]:
    """Trainable parameters of each module, without those inside it; some say themselves how many they use."""
    return {
        _Call(module, ()): getattr(module, "parameters_used", sum(p.numel() for p in module.parameters(recurse=False)))
        for module in network.modules()
    }


def _own_multiply_adds(
    mixed: Mixed, image: torch.Tensor, passes: Sequence[Sequence[Weights]], hooks: list[Any]
) -> dict[_Call, int] | None:
    """Multiply-adds of each call of a module, without those of modules inside it; removes its hooks from the list.

    Returns:
        Of the calls of all passes; None if two calls that look alike differ.
    """
    found: dict[_Call, set[int]] = {}
    begun: list[int] = []  # of the modules in which the pass is, what was counted when they began
    inside: list[int] = []  # and what was counted in modules inside them

    def enter(*_: object) -> None:
        begun.append(counter.multiply_adds)
        inside.append(0)

    def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: object) -> None:
        whole = counter.multiply_adds - begun.pop()
        found.setdefault(_call(module, args, kwargs), set()).add(whole - inside.pop())
        if inside:
            inside[-1] += whole

    for module in mixed.modules():
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, with_kwargs=True)]
    with torch.no_grad(), MultiplyAddCounter() as counter:
        for mixed.mixing in passes:
            mixed(image)
    while hooks:
        hooks.pop().remove()
    return {call: min(own) for call, own in found.items()} if all(len(own) == 1 for own in found.values()) else None


class Mixed(nn.Module):
    """A relaxed network with fixed weights, to count its multiply-adds."""

    def __init__(self, network: Network, weights: Sequence[Weights]) -> None:
        super().__init__()
        self.network = network
        self.mixing = weights
        self.input_dtype = network.input_dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        assert isinstance(self.network, Relaxed)
        return self.network.relaxed(images, self.mixing)


def tabled_costs(path: str, space: Space) -> CandidateCosts:
    """Milliseconds of each candidate by a latency table, whose rows are a space's decisions and options.

    Args:
        path: The file; see ``archsearch.limits.LatencyTable``.
        space: A space whose choices are its decisions.

    Raises:
        MissingAbility: If they are not, as in ``DARTS``.
        TableError: If the table cannot be used.
    """
    assert isinstance(space, Relaxable)
    choices = space.relaxed_choices()
    named = [(space.label((0,) * i), n) for i, n in enumerate(space.arities or ())]
    if named != [(choice.name, len(choice.candidates)) for choice in choices]:
        raise MissingAbility(
            f"Resource: of: a latency table has the seconds of decisions, and what {type(space).__name__} mixes are no "
            "decisions of it; use a chain such as MobileNet, or of: flops or params"
        )
    table = LatencyTable(path, space)
    return CandidateCosts(
        1000 * table.fixed, tuple(tuple(1000 * table.option(name, i) for i in range(n)) for name, n in named)
    )
