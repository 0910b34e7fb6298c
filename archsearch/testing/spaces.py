"""The promises of spaces."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archsearch.abilities import SharedWeights, Skipping, Trainable
from archsearch.basics.kinds import PIXELS, TABLES, TOKENS, kinds_of
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Over, Space
from archsearch.testing.looking import default, expect_no_globals, expect_round_trip, expect_same, in_new_process
from archsearch.testing.suite import SPACE_CHECKS, MakeSpace, check_all, expect, expect_raises, space_check
from archsearch.testing.toys import FixedSpace, OnePointSpace, some
from archsearch.trial import Architecture

SMALL_SPACE = 5000
"""Spaces of up to this many architectures are enumerated, and sampling is tested on every one of them."""

RAREST = 2.0
"""Outcomes that are expected less often than that are counted together in a test of a distribution."""


def check_space(make: MakeSpace, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``SPACE_CHECKS``.

    Args:
        make: Gives a new space at each call, for example its class.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    check_all(SPACE_CHECKS, make, (), skip)


# -- spaces --------------------------------------------------------------------------------------


def _size(space: Space) -> int:
    """Number of architectures; spaces that cannot be counted are large."""
    size = space.size()
    return sys.maxsize if size is None else size


@space_check
def default_settings_sample(make: MakeSpace) -> None:
    """A space whose settings all have defaults works with them, as users start it."""
    space = default(make())
    space.validate(space.sample(np.random.default_rng(0)))


@space_check
def samples_lie_in_it(make: MakeSpace) -> None:
    """What is sampled is in the space, drawn alone or, for fixed length, as a batch."""
    space, rng = make(), np.random.default_rng(0)
    for _ in range(1000):
        architecture = space.sample(rng)
        expect(architecture in space, f"sample() gave {architecture!r}, which is not in the space")
    if space.arities is None:
        expect_raises(UsageError, lambda: space.sample_batch(rng, 2), "sample_batch() of a space without arities")
        return
    batch = space.sample_batch(rng, 50)
    expect(batch.shape == (50, len(space.arities)), f"sample_batch(rng, 50) has shape {batch.shape}")
    for row in batch.tolist():
        expect(tuple(row) in space, f"sample_batch() gave {row!r}, which is not in the space")


@space_check
def sampling_is_uniform(make: MakeSpace) -> None:
    """``sample`` over architectures is uniform over them (chi-square), over decisions each is, given those before.

    The latter only where no chances of its own (``_draw``) say otherwise. Of a space of more than ``SMALL_SPACE``
    architectures the first decision alone is looked at: over architectures an option is as likely as the
    architectures that begin with it are many, where they can be counted. Of a space with ``partial_sampling`` it is
    asked that draws differ.
    """
    space, rng = make(), np.random.default_rng(0)
    size = _size(space)
    if space.partial_sampling:
        different = len({space.sample(rng) for _ in range(100)})
        expect(different > 1 or size == 1, "100 draws of sample() are one architecture")
        return
    small = size <= SMALL_SPACE
    n = max(2000, 5 * size) if small else 4000
    length = None if small else 1
    firsts: dict[Architecture, float] = {(option,): 1.0 for option in range(space.arity(()))}
    overs: dict[Over, Mapping[Architecture, float]] = {"architectures": firsts, "decisions": firsts}
    if small:
        chances = {member: _chance(space, member) for member in space.enumerate()}
        overs = {"architectures": dict.fromkeys(chances, 1.0), "decisions": chances}
    elif space.arities is None and (total := space._count(())):
        counted: dict[Architecture, float] = {
            first: (space._count(first) or 0) / total for first in firsts
        }  # may be more than any float
        overs = {"architectures": counted, "decisions": firsts}
    for over, weights in overs.items():
        if over == "decisions" and space.partial_sampling:
            different = len({space.sample(rng) for _ in range(100)})
            expect(different > 1 or size == 1, "100 draws of sample() are one architecture")
            return
        if over == "decisions" and type(space)._draw is not Space._draw:
            continue
        drawn = [space.sample(rng, over)[:length] for _ in range(n)]
        _expect_distribution(drawn, weights, f"sample(rng, {over!r})")
    if space.arities is not None:
        for i, column in enumerate(space.sample_batch(rng, 4000).T.tolist()):
            _expect_distribution(column, dict.fromkeys(range(space.arities[i]), 1.0), f"decision {i} of sample_batch()")


def _chance(space: Space, architecture: Architecture) -> float:
    """The probability that decisions drawn uniformly one after another are those of an architecture."""
    return math.prod(1 / space.arity(architecture[:i]) for i in range(len(architecture)))


def _expect_distribution(drawn: Sequence[Any], weights: Mapping[Any, float], what: str) -> None:
    """Chi-square test at 5 standard deviations, by the Wilson-Hilferty approximation of its quantile."""
    total = sum(weights.values())
    counts = dict.fromkeys(weights, 0)
    for outcome in drawn:
        expect(outcome in counts, f"{what}: {outcome!r} is not among the {len(weights)} that there are")
        counts[outcome] += 1
    expected = {key: len(drawn) * weight / total for key, weight in weights.items()}
    # The approximation needs a few of each: what is rarer counts as one.
    rare = [key for key, mean in expected.items() if mean < RAREST]
    pairs = [(counts[key], mean) for key, mean in expected.items() if mean >= RAREST]
    if rare:
        pairs.append((sum(counts[key] for key in rare), sum(expected[key] for key in rare)))
    freedom = len(pairs) - 1
    if freedom == 0:
        return
    statistic = sum((count - mean) ** 2 / mean for count, mean in pairs)
    limit = freedom * (1 - 2 / (9 * freedom) + 5 * math.sqrt(2 / (9 * freedom))) ** 3
    expect(
        statistic <= limit,
        f"{what}: not uniform; chi-square {statistic:.1f} at {freedom} degrees of freedom exceeds {limit:.1f}",
    )


@space_check
def mutation_changes_it(make: MakeSpace) -> None:
    """A mutant is another member of the space; only a space of one point gives it back unchanged.

    In a space with ``idle_mutations`` some do not change anything, but most do.
    """
    space, rng, idle = make(), np.random.default_rng(0), 0
    for architecture in some(space, 100):
        mutant = space.mutate(architecture, rng)
        expect(mutant in space, f"mutate({architecture!r}) gave {mutant!r}, which is not in the space")
        if mutant == architecture and _size(space) > 1:
            idle += 1
            expect(space.idle_mutations and idle < 50, f"mutate({architecture!r}) changed nothing")


@space_check
def crossover_stays_in_it(make: MakeSpace) -> None:
    """A child is in the space, and the child of two equal parents is like them."""
    space, rng = make(), np.random.default_rng(0)
    architectures = some(space, 100)
    for first, second in itertools.pairwise(architectures):
        child = space.crossover(first, second, rng)
        expect(child in space, f"crossover({first!r}, {second!r}) gave {child!r}, which is not in the space")
        same = space.crossover(first, first, rng)
        expect(same == first, f"crossover of {first!r} with itself gave {same!r}")


@space_check
def neighbours_are_others(make: MakeSpace) -> None:
    """Neighbours are in the space, all different, and never the architecture itself."""
    space = make()
    for architecture in some(space, 5):
        near = list(itertools.islice(space.neighbours(architecture), 1000))
        expect(architecture not in near, f"{architecture!r} is among its own neighbours")
        expect(len(set(near)) == len(near), f"neighbours({architecture!r}) gave an architecture twice")
        expect(bool(near) or _size(space) == 1, f"neighbours({architecture!r}) gave none")
        for other in near:
            expect(other in space, f"neighbours({architecture!r}) gave {other!r}, which is not in the space")


@space_check
def decisions_keep_their_bounds(make: MakeSpace) -> None:
    """No architecture is longer than ``max_length``, no arity above ``max_options``; labels are distinct texts.

    Decisions that are skip connections, if the space names some, have two options.
    """
    space = make()
    skips = space.skip_decisions if isinstance(space, Skipping) else ()
    for architecture in some(space, 50):
        arities = [space.arity(architecture[:i]) for i in range(len(architecture))]
        expect(len(arities) <= space.max_length, f"{architecture!r} is longer than max_length {space.max_length}")
        for i in skips:
            expect(arities[i : i + 1] == [2], f"skip_decisions: decision {i} of {arities} does not have two options")
        expect(max(arities) <= space.max_options, f"arities {arities} exceed max_options {space.max_options}")
        expect(space.arity(architecture) == 0, f"arity({architecture!r}) must be 0, since it is complete")
        labels = [space.label(architecture[:i]) for i in range(len(architecture))]
        fine = all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels)
        expect(fine, f"{architecture!r}: expected a different text as label of each decision, got {labels}")


@space_check
def text_round_trip(make: MakeSpace) -> None:
    """``parse`` reads what ``format`` wrote."""
    space = make()
    for architecture in some(space, 100):
        text = space.format(architecture)
        expect(isinstance(text, str), f"format({architecture!r}) gave {text!r}, which is no text")
        back = space.parse(text)
        expect(back == architecture, f"parse({text!r}) gave {back!r} for {architecture!r}")


@space_check
def nonsense_is_refused(make: MakeSpace) -> None:
    """Text that is no architecture raises ``InvalidArchitecture``."""
    space = make()
    text = space.format(some(space, 1)[0])
    for nonsense in ("", " ", "no such architecture", "-", "\0", "[1, 2", "{}", text + "?", "99" + text):
        expect_raises(InvalidArchitecture, functools.partial(space.parse, nonsense), f"parse({nonsense!r})")


@space_check
def wrong_architectures_are_outside(make: MakeSpace) -> None:
    """Too short, too long, an option out of range, a bool, a float, no tuple: not in the space."""
    space = make()
    for architecture in some(space, 20):
        for wrong in _wrong(space, architecture):
            expect(wrong not in space, f"{wrong!r} passes for a member of the space")
            if not isinstance(wrong, list):
                expect_raises(InvalidArchitecture, functools.partial(space.validate, wrong), f"validate({wrong!r})")
        listed = space.validate(list(architecture)), space.validate(np.array(architecture))
        expect(listed == (architecture,) * 2, f"validate() of {architecture!r} as list and as array gave {listed}")


def _wrong(space: Space, architecture: Architecture) -> Iterator[object]:
    yield from (architecture[:-1], (*architecture, 0), list(architecture), space.format(architecture), None)
    for i, option in enumerate(architecture):
        before, after = architecture[:i], architecture[i + 1 :]
        yield (*before, -1, *after)
        yield (*before, space.arity(before), *after)
        yield (*before, float(option), *after)
        if option in (0, 1):
            yield (*before, bool(option), *after)


@space_check
def enumeration_is_complete(make: MakeSpace) -> None:
    """``enumerate`` gives different members in lexicographic order; of a small space as many as ``size`` says."""
    space = make()
    size = _size(space)
    members = list(itertools.islice(space.enumerate(), SMALL_SPACE + 1 if size <= SMALL_SPACE else 500))
    for member in members:
        expect(member in space, f"enumerate() gave {member!r}, which is not in the space")
    for one, next_one in itertools.pairwise(members):
        expect(one < next_one, f"enumerate() gave {next_one!r} after {one!r}")
    if size <= SMALL_SPACE:
        expect(len(members) == size, f"size() is {size}, but enumerate() gave {len(members)}")


@space_check
def canonical_is_a_stable_key(make: MakeSpace) -> None:
    """``canonical`` is hashable, and the same for an equal space and in a new process with another hash seed."""
    space, architectures = make(), some(make(), 50)
    keys = [space.canonical(architecture) for architecture in architectures]
    expect(len({hash(key) for key in keys}) > 0, "canonical() must be hashable")
    expect_same(keys, [make().canonical(a) for a in architectures], "canonical() differs between equal spaces")
    there = in_new_process(_canonical_forms, space, architectures)
    expect_same(keys, there, "canonical() differs in a new process")


def _canonical_forms(space: Space, architectures: Sequence[Architecture]) -> list[object]:
    return [space.canonical(architecture) for architecture in architectures]


@space_check
def encodings_tell_apart(make: MakeSpace) -> None:
    """``one_hot`` gives one row of finite numbers per architecture, of one width, different for different ones."""
    space, architectures = make(), some(make(), 50)
    rows = space.one_hot(architectures)
    expect(rows.ndim == 2 and len(rows) == 50, f"one_hot() of 50 architectures has shape {rows.shape}")
    expect(bool(np.isfinite(rows).all()), "one_hot() gave numbers that are not finite")
    alone = space.one_hot(architectures[:1])
    expect(bool(np.array_equal(alone, rows[:1])), "one_hot() of an architecture depends on the others in the batch")
    different = len(np.unique(rows, axis=0)), len(set(architectures))
    expect(different[0] == different[1], f"{different[1]} different architectures have {different[0]} encodings")


@space_check
def graph_can_be_drawn(make: MakeSpace) -> None:
    """``graph`` gives an acyclic directed graph whose nodes carry a text as ``label``."""
    import networkx

    space = make()
    for architecture in some(space, 20):
        graph = space.graph(architecture)
        expect(networkx.is_directed_acyclic_graph(graph), f"graph({architecture!r}) is no acyclic directed graph")
        for node, label in graph.nodes(data="label"):
            expect(isinstance(label, str), f"graph({architecture!r}): node {node!r} has the label {label!r}, no text")


@space_check
def same_generator_same_draws(make: MakeSpace) -> None:
    """Sampling and variation depend on the given generator only, also after pickling."""
    space = make()
    for twin in (make(), pickle.loads(pickle.dumps(space))):
        expect_same(_draws(space), _draws(twin), "equal generators, other draws")


def _draws(space: Space) -> list[Architecture]:
    rng = np.random.default_rng(4)
    drawn = [space.sample(rng) for _ in range(30)]
    drawn += [space.mutate(architecture, rng) for architecture in drawn[:30]]
    return drawn + [space.crossover(one, other, rng) for one, other in zip(drawn[:30], drawn[30:], strict=True)]


@space_check
def space_leaves_global_generators(make: MakeSpace) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    expect_no_globals(lambda: _draws(make()))


@space_check
def equal_spaces_hash_alike(make: MakeSpace) -> None:
    """Spaces with the same settings are equal and have equal hashes, also after pickling; others differ."""
    space = make()
    for twin in (make(), pickle.loads(pickle.dumps(space))):
        expect(space == twin, "a space with the same settings, or its pickled copy, is not equal to it")
        expect(hash(space) == hash(twin), "equal spaces have different hashes")
    other = OnePointSpace() if not isinstance(space, OnePointSpace) else FixedSpace()
    expect(space != other, f"it is equal to {type(other).__name__}")


@space_check
def space_round_trip(make: MakeSpace) -> None:
    """Settings are readable as attributes, and a space rebuilt from them is equal and draws the same."""
    space = make()
    twin = expect_round_trip(space)
    expect(space == twin, "rebuilt from its description, it is another space")
    expect_same(_draws(space), _draws(twin), "rebuilt from its description, it draws something else")


@space_check
def networks_are_built_right(make: MakeSpace) -> None:
    """Networks of a trainable space give logits, get their values from the seed, and are parts of its super-network.

    Those that predict the next token give logits for each token, and go on from where the segment before has ended;
    those that segment give logits for each pixel.

    Spaces without ``network`` are left alone.
    """
    space = make()
    if not isinstance(space, Trainable):
        return
    import torch

    from archsearch.networks.network import InputShape, build
    from archsearch.networks.recurrent import CarriedState

    generator, kind = torch.Generator().manual_seed(0), kinds_of(space)[0]
    tokens = kind == TOKENS
    shape = InputShape({TOKENS: (1,), TABLES: (5,)}.get(kind, (1, 8, 8)), 3)
    images = torch.randint(3, (2, 6), generator=generator)
    images = images if tokens else torch.rand(2, *shape.input_shape, generator=generator)
    expected = {TOKENS: (2, 6, 3), PIXELS: (2, 3, 8, 8)}.get(kind, (2, 3))
    for architecture in some(space, 2):
        networks = [build(functools.partial(space.network, architecture, shape), seed).eval() for seed in (0, 0, 1)]
        first, again, other = (network(images) for network in networks)
        found = tuple(first.shape)
        expect(found == expected, f"inputs {tuple(images.shape)} of 3 classes: expected logits {expected}, got {found}")
        expect(torch.equal(first, again), "one seed gives two networks: build(make, seed) must decide all values")
        expect(not torch.equal(first, other), "two seeds give the same network")
        if tokens:
            carried = CarriedState()
            begun = networks[0](images[:, :4], None, carried)
            carried.go_on()
            both = torch.cat([begun, networks[0](images[:, 4:], None, carried)], dim=1)
            expect(torch.allclose(first, both, atol=1e-6), "the hidden state is not carried on to the next segment")
        if isinstance(space, SharedWeights):
            shared = build(functools.partial(space.super_network, shape), 2).eval()
            weights = shared.state_dict()
            for name, value in networks[0].state_dict().items():
                expect(name in weights, f"the super-network has no parameter {name!r} of the stand-alone network")
                value.copy_(weights[name][tuple(map(slice, value.shape))])  # leading part, where that is wider
            alike = torch.allclose(networks[0](images), shared(images, architecture), rtol=1e-4, atol=1e-5)
            expect(alike, "with the super-network's weights, the stand-alone network computes something else")
            if shared.show(architecture):
                same = list(shared.state_dict()) == list(networks[0].state_dict())
                expect(same, "show(architecture) leaves other parameters than those of the stand-alone network")
