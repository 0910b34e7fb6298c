"""NAO: architectures are encoded, decoded, and moved along the gradient of what is predicted."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from archsearch.controllers import NAO
from archsearch.controllers import nao_network as networks
from archsearch.errors import UsageError
from archsearch.spaces import MetaQNN
from archsearch.testing import ConditionalSpace, FixedSpace
from archsearch.trial import Evaluation, Trial

SPACES = {"fixed": FixedSpace(), "conditional": ConditionalSpace(), "layers": MetaQNN(layers=5, image=16)}


def ones(architecture):
    return sum(option == 1 for option in architecture) / len(architecture)


@pytest.fixture(scope="module", params=SPACES)
def learnt(request):
    """A space, some of its architectures, networks that were trained on them, and they as tensors."""
    space, rng = SPACES[request.param], np.random.default_rng(0)
    architectures = sorted({space.sample(rng) for _ in range(80)})
    targets = [ones(architecture) for architecture in architectures]
    settings = {"width": 24, "epochs": 130, "weight": 0.8, "noise": 0.1, "seed": 1}
    network = networks.fitted(space, architectures, targets, **settings)
    return space, architectures, network, networks.read(space, architectures)


def test_it_decodes_its_own_encodings(learnt):
    space, architectures, network, given = learnt
    back = networks.decoded(network, space, networks.moved(network, given, 0.0))
    assert np.mean([one == other for one, other in zip(back, architectures, strict=True)]) >= 0.99


def test_a_step_along_the_gradient_raises_what_is_predicted(learnt):
    _, _, network, given = learnt
    with torch.no_grad():
        before = network.predict(network.encode(given))
        for step in (0.01, 1.0, 10.0):
            after = network.predict(networks.moved(network, given, step))
            assert (after > before).double().mean() >= 0.99


def test_whatever_is_decoded_is_an_architecture_of_the_space(learnt):
    space, _, network, given = learnt
    noise = torch.randn(networks.moved(network, given, 0.0).shape, generator=torch.Generator().manual_seed(0))
    assert all(architecture in space for architecture in networks.decoded(network, space, noise))


def test_the_predictor_ranks_what_it_has_not_seen(learnt):
    space, architectures, network, _ = learnt
    rng = np.random.default_rng(5)
    others = sorted({space.sample(rng) for _ in range(200)} - set(architectures))
    found = networks.predicted(network, space, others)
    assert spearmanr(found, [ones(other) for other in others])[0] > 0.6


def test_encodings_do_not_depend_on_what_else_is_encoded(learnt):
    space, architectures, network, given = learnt
    with torch.no_grad():
        alone = network.encode(networks.read(space, architectures[:1]))
        torch.testing.assert_close(alone[0], network.encode(given)[0, : alone.shape[1]])
    lengths = torch.linalg.vector_norm(alone, dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_equal_seeds_train_equal_networks_and_touch_no_global_generator():
    space = FixedSpace()
    architectures = [(i % 5,) * 6 for i in range(10)]
    settings = {"width": 8, "epochs": 3, "weight": 0.5, "noise": 0.1}
    state = torch.get_rng_state()
    one, same, other = (networks.fitted(space, architectures, [0.1] * 10, **settings, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.score.weight, other.score.weight)


# -- the search ----------------------------------------------------------------------------------------


def started(seed=0, **settings):
    controller = NAO(**({"initial": 30, "batch": 20, "epochs": 60, "width": 16} | settings))
    controller.start(FixedSpace(), seed)
    return controller


def tell(controller, proposals):
    controller.tell([Trial(*proposal[:3], Evaluation(ones(proposal.architecture))) for proposal in proposals])


def test_a_round_proposes_what_is_new_and_better_and_names_whose_encoding_was_moved():
    controller = started()
    first = controller.ask(30)
    tell(controller, first)
    found = controller.ask(20)
    assert len({proposal.architecture for proposal in first + found}) == 50
    moved = [proposal for proposal in found if proposal.parent is not None]
    assert len(moved) >= 10
    assert (
        np.mean([ones(each.architecture) for each in moved])
        > np.mean([ones(each.architecture) for each in first]) + 0.1
    )


def test_it_goes_on_alike_in_the_middle_of_a_round():
    controller, again = started(epochs=3), started(1, epochs=3)
    tell(controller, controller.ask(30))
    due = controller.ask(7)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, again):
        tell(each, due)
    assert again.ask(30) == controller.ask(30)


def test_what_is_learnt_from_is_bounded_by_the_newest_and_the_best():
    controller = started(labels=40, initial=40)
    proposals = controller.ask(100)  # before the first result, so that no network is trained
    scores = [10.0 if number < 5 else number / 100 for number in range(100)]
    controller.tell([Trial(*each[:3], Evaluation(score)) for each, score in zip(proposals, scores, strict=True)])
    kept = [label.id for label in controller._labels]
    assert len(kept) == 40
    assert kept[:5] == [0, 1, 2, 3, 4]
    assert kept[-20:] == list(range(80, 100))


def test_torch_is_not_imported_until_a_round_begins():
    code = (
        "import sys\nfrom archsearch.controllers import NAO\nfrom archsearch.testing import FixedSpace\n"
        "controller = NAO()\ncontroller.start(FixedSpace(), 0)\ncontroller.ask(5)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("settings", [{"initial": 1}, {"predictor_weight": 1.5}, {"labels": 10}, {"epochs": 0}])
def test_settings_out_of_range_are_named(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"NAO: {name}"):
        NAO(**settings)
