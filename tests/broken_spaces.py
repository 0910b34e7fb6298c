"""Deliberately wrong spaces, as ``broken.py`` says."""

from __future__ import annotations

import random

import numpy as np
from broken import case

from archsearch.errors import InvalidArchitecture
from archsearch.space import Space
from archsearch.testing import ConditionalSpace, FixedSpace


class Small(Space):
    """A right one, which the wrong ones below are made from: 81 architectures."""

    def __init__(self) -> None:
        super().__init__(arities=(3,) * 4)


class SpaceDefaultsNeverTried(Space):
    def __init__(self, length: int = 0) -> None:
        super().__init__(arities=(3,) * length)
        self.length = length


class SamplesIncomplete(ConditionalSpace):
    def sample(self, rng, over="decisions"):
        architecture = super().sample(rng, over)
        return architecture[:-1] if rng.random() < 0.01 else architecture


class BatchCountsFromOne(Small):
    def sample_batch(self, rng, n):
        return super().sample_batch(rng, n) + 1


class SamplesByDecision(ConditionalSpace):
    def sample(self, rng, over="decisions"):
        return super().sample(rng, "decisions")


class SamplesByArchitecture(ConditionalSpace):
    def sample(self, rng, over="decisions"):
        return super().sample(rng, "architectures")


class SamplesLowOptions(FixedSpace):
    def sample(self, rng, over="decisions"):
        return tuple(int(option) for option in rng.random(6) ** 1.5 * 5)


class MutatesInVain(Small):
    def mutate(self, architecture, rng):
        position = int(rng.integers(4))
        return (*architecture[:position], int(rng.integers(3)), *architecture[position + 1 :])


class CutsBlindly(ConditionalSpace):
    def crossover(self, first, second, rng):
        return first[:1] + second[1:]


class CrossesAtRandom(Small):
    def crossover(self, first, second, rng):
        return self.sample(rng)


class ItsOwnNeighbour(Small):
    def neighbours(self, architecture):
        yield architecture
        yield from super().neighbours(architecture)


class LongerThanSaid(ConditionalSpace):
    def __init__(self) -> None:
        super().__init__()
        self.max_length = 5


class FormatsBackwards(Small):
    def format(self, architecture):
        return super().format(architecture[::-1])


class GuessesWhatYouMean(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture:
            return (0, 0, 0, 0)


class TakesBools(Small):
    def __contains__(self, architecture):
        return isinstance(architecture, tuple) and len(architecture) == 4 and all(o in (0, 1, 2) for o in architecture)


class CountsOneMore(Small):
    def size(self):
        return 82


class EnumeratesBackwards(Small):
    def enumerate(self):
        return reversed(list(super().enumerate()))


class HashesText(Small):
    def canonical(self, architecture):
        return hash(self.format(architecture))


class CanonicalList(Small):
    def canonical(self, architecture):
        return list(architecture)


class EncodesThree(Small):
    def one_hot(self, architectures):
        encoded = super().one_hot(architectures)
        encoded[:, 9:] = 0
        return encoded


class DrawsCircles(Small):
    def graph(self, architecture):
        graph = super().graph(architecture)
        graph.add_edge(3, 0)
        return graph


class LabelsByNumber(Small):
    def graph(self, architecture):
        graph = super().graph(architecture)
        graph.add_node(0, label=architecture[0])
        return graph


class SamplesByChance(Small):
    def sample(self, rng, over="decisions"):
        return super().sample(np.random.default_rng(), over)


class DrawsGlobalNumbers(Small):
    def sample(self, rng, over="decisions"):
        random.random()
        return super().sample(rng, over)


class HashesIdentity(Small):
    def __hash__(self):
        return id(self)


class EqualsItselfOnly(Small):
    def __eq__(self, other):
        return self is other

    __hash__ = Space.__hash__


class SpaceHidesSetting(Space):
    def __init__(self, length: int = 4) -> None:
        super().__init__(arities=(3,) * length)
        self._length = length


SPACES = [
    case("default_settings_sample", lambda: SpaceDefaultsNeverTried(4)),
    case("samples_lie_in_it", SamplesIncomplete, "sampling_is_uniform"),
    case("samples_lie_in_it", BatchCountsFromOne, "sampling_is_uniform"),
    case("sampling_is_uniform", SamplesByDecision),
    case("sampling_is_uniform", SamplesByArchitecture),
    case("sampling_is_uniform", SamplesLowOptions),
    case("mutation_changes_it", MutatesInVain),
    case("crossover_stays_in_it", CutsBlindly),
    case("crossover_stays_in_it", CrossesAtRandom),
    case("neighbours_are_others", ItsOwnNeighbour),
    case("decisions_keep_their_bounds", LongerThanSaid),
    case("text_round_trip", FormatsBackwards),
    case("nonsense_is_refused", GuessesWhatYouMean),
    case("wrong_architectures_are_outside", TakesBools),
    case("enumeration_is_complete", CountsOneMore),
    case("enumeration_is_complete", EnumeratesBackwards),
    case("canonical_is_a_stable_key", HashesText),
    case("canonical_is_a_stable_key", CanonicalList),
    case("encodings_tell_apart", EncodesThree),
    case("graph_can_be_drawn", DrawsCircles),
    case("graph_can_be_drawn", LabelsByNumber),
    case("same_generator_same_draws", SamplesByChance, "space_leaves_global_generators", "space_round_trip"),
    case("space_leaves_global_generators", DrawsGlobalNumbers),
    case("equal_spaces_hash_alike", HashesIdentity),
    case("equal_spaces_hash_alike", EqualsItselfOnly, "space_round_trip"),
    case("space_round_trip", SpaceHidesSetting, "equal_spaces_hash_alike"),
]
