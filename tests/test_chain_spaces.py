"""The published chains: counts, options, named architectures with their sizes, texts, and how they are trained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces import SPOS, EfficientNet, FairNAS, FBNet, MixConv, MnasNet, ProxylessNAS
from archsearch.spaces.spos import SCALES
from archsearch.training.paths import FairPaths, UniformPaths

IMAGENET = InputShape((3, 224, 224), 1000)
DIGITS = InputShape((1, 8, 8), 10)
CHAINS = {"FBNet": FBNet, "FairNAS": FairNAS, "MixConv": MixConv, "ProxylessNAS": ProxylessNAS, "SPOS": SPOS}
ALL = CHAINS | {"EfficientNet": EfficientNet, "MnasNet": MnasNet}


def sizes(space, name):
    """Parameters and multiply-adds on ImageNet."""
    with torch.device("meta"):
        network = space.network(space.parse(name), IMAGENET)
    return parameter_count(network), multiply_adds(network, IMAGENET.input_shape)


# -- the published numbers -----------------------------------------------------------------------------


def test_encodings_are_as_many_as_published():
    assert ProxylessNAS().size() == 6**6 * 7**15 == 221_502_229_807_900_608
    assert FBNet().size() == 9**22
    assert FairNAS().size() == 6**19
    assert SPOS().size() == 4**20 == 1_099_511_627_776
    assert SPOS(units=["shuffle3"], scales=SCALES).size() == 10**20
    assert SPOS(scales=SCALES).size() == 40**20
    assert MixConv().size() == 10**15
    assert MnasNet().arities[:6] == (4, 2, 2, 3, 3, 3)
    assert math.prod(MnasNet().arities[: 5 * 6]) == 432**5 == 15_045_919_506_432


def test_only_layers_that_change_nothing_can_be_left_out():
    for space in (ProxylessNAS(), ProxylessNAS("gpu")):
        assert [i for i, layer in enumerate(space.layers) if "identity" not in layer.options] == [0, 4, 8, 12, 16, 20]
        assert all(layer.residual == ("identity" in layer.options) for layer in space.layers)
    assert not any("identity" in layer.options for layer in FairNAS().layers)
    # In FBNet every layer can; one that changes width or size is a convolution then.
    assert FBNet().candidate_names(0)[0] == "identity"
    assert FBNet().candidate_names(1)[0] == "1x1"


PUBLISHED = [
    # Parameters as the authors' code has them, counted by others too; multiply-adds as printed, in millions.
    (ProxylessNAS("mobile"), "Proxyless-Mobile", 4_080_512, 320),
    (ProxylessNAS("gpu"), "Proxyless-GPU", 7_119_848, 465),
    (ProxylessNAS("cpu"), "Proxyless-CPU", 4_361_648, 439),
    (FairNAS(), "FairNAS-A", 4_651_352, 388),
    (FairNAS(), "FairNAS-B", 4_506_272, 345),
    (FairNAS(), "FairNAS-C", 4_397_864, 321),
    (SPOS(), "SPOS", 3_558_464 + 1000, 323),  # the authors' classifier has no biases
    (MixConv(), "MixNet-S", 4_134_606, None),
    (MnasNet(), "MnasNet-A1", 3_887_038, 312),
    (MnasNet(), "MnasNet-B1", 4_383_312, 314),
    (EfficientNet(exponent=0), "EfficientNet", 5_288_548, 386),  # B0
    (FBNet(1504), "FBNet-A", None, 250),
]


@pytest.mark.parametrize(("space", "name", "params", "millions"), PUBLISHED, ids=[row[1] for row in PUBLISHED])
def test_sizes_of_named_architectures(space, name, params, millions):
    found, macs = sizes(space, name)
    assert params is None or found == params
    assert millions is None or round(macs / 1e6) == millions


def test_named_architectures_are_in_their_spaces_and_have_no_place_in_small_ones():
    for make in ALL.values():
        space = make()
        for name in getattr(space, "rules", getattr(space, "base", None)).names:
            assert space.parse(f" {name}\n") in space
            assert space.parse(space.format(space.parse(name))) == space.parse(name)
    with pytest.raises(InvalidArchitecture, match=r"expected 21 layers .* or Proxyless-Mobile, or .*, got 1"):
        ProxylessNAS().parse("proxyless")
    with pytest.raises(InvalidArchitecture, match="'FBNet-C' is no architecture of FBNet: expected 12 layers"):
        FBNet(small=True).parse("FBNet-C")


@pytest.mark.parametrize("make", [*CHAINS.values(), MnasNet, EfficientNet])
def test_small_must_be_a_switch(make):
    with pytest.raises(UsageError, match=rf"^{make.__name__}: small: expected true or false, got 'yes'"):
        make(small="yes")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProxylessNAS("tpu"), "ProxylessNAS: widths: expected one of search, mobile, gpu, cpu, got 'tpu'"),
        (lambda: FBNet(1000), "FBNet: head_channels: expected one of 1984, 1504, got 1000"),
        (lambda: SPOS(["shuffle9"]), "SPOS: units: expected one of shuffle3, .* got 'shuffle9'"),
        (lambda: SPOS(scales=[0]), "SPOS: scales: expected a finite number above 0, got 0"),
        (lambda: SPOS(scales=[]), "SPOS: scales: expected a list that is not empty"),
        (lambda: EfficientNet(depths=[0.9]), "EfficientNet: depths: expected a finite number >= 1, got 0.9"),
        (lambda: EfficientNet(depths=[3], widths=[1]), "EfficientNet: tolerance: no factors have a product"),
        (lambda: SPOS(small=True).super_network(DIGITS, channels=7), "shuffle3: expected a number of channels that is"),
        (lambda: FBNet(small=True).super_network(DIGITS, channels=7), "k3e1g2: expected a number of channels that is"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        make()


# -- one definition for stand-alone and shared use -----------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_stand_alone_networks_compute_what_the_super_network_does(name):
    space = ALL[name](small=True)
    shared = build(lambda: space.super_network(DIGITS, channels=4), 0).train()
    images = torch.rand(6, *DIGITS.input_shape, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        architecture = space.sample(np.random.default_rng(i))
        shared.train()(images, architecture)  # statistics that are not the initial ones
        own = build(lambda a=architecture: space.network(a, DIGITS, channels=4), 1).eval()
        values = shared.eval().state_dict()
        own.load_state_dict({k: values[k][tuple(map(slice, v.shape))] for k, v in own.state_dict().items()})
        with torch.no_grad():
            assert torch.equal(own(images), shared(images, architecture))


def test_blocks_are_what_their_names_say():
    with torch.device("meta"):
        network = FBNet().network(FBNet().parse("FBNet-A"), IMAGENET)
        mixed = MixConv().network(MixConv().parse("MixNet-S"), IMAGENET)
        shuffled = SPOS().network(SPOS().parse("SPOS"), IMAGENET)
    grouped = network.layers[11]["k5e1g2"]
    assert (grouped.expand.conv.groups, grouped.depthwise.conv.kernel_size, grouped.project.conv.groups) == (
        2,
        (5, 5),
        2,
    )
    # 120 channels in, expanded to 720; five sizes share them.
    depthwise = mixed.layers[13]["k3_5_7_9_11e6"].depthwise
    assert [(conv.kernel_size[0], conv.out_channels) for conv in depthwise.convs] == [
        (n, 144) for n in (3, 5, 7, 9, 11)
    ]
    assert mixed.layers[13]["k3_5_7_9_11e6"].squeeze.reduce.out_channels == 60
    # Half of the channels pass by; where width and size change, all come in twice.
    first, later = shuffled.layers[0]["shuffle7"], shuffled.layers[1]["shuffle5"]
    assert (first.shortcut[1].conv.out_channels, first.branch[-1].conv.out_channels) == (16, 48)
    assert later.shortcut is None
    assert (later.branch[0].conv.in_channels, later.branch[-1].conv.out_channels) == (32, 32)
    assert [part.conv.groups > 1 for part in shuffled.layers[11]["xception"].branch] == [True, False] * 3


def test_channels_pass_by_and_are_shuffled():
    space = SPOS(units=["shuffle3"], small=True)
    network = build(lambda: space.super_network(DIGITS, channels=8), 0).eval()
    with torch.no_grad():
        x = network.layer(0, network.stem(torch.rand(2, 1, 8, 8)), 0)
        output = network.layer(1, x, 0)
    assert torch.equal(output[:, :4], x[:, 0::2])


def test_uneven_mixtures_give_the_rest_to_the_first_kernel():
    space = MixConv(small=True)
    network = build(lambda: space.super_network(DIGITS, channels=4), 0)
    assert network.layers[1]["k3_5_7_9_11e3"].depthwise.parts == [4, 2, 2, 2, 2]


# -- texts -----------------------------------------------------------------------------------------------


def test_block_strings_round_trip():
    space = MnasNet()
    a1 = space.parse("MnasNet-A1")
    assert space.format(a1).split()[2] == "r3_k5_s22_e3_i24_o40_se0.25"
    assert space.parse(space.format(a1)) == a1
    rng = np.random.default_rng(0)
    for architecture in (space.sample(rng) for _ in range(50)):
        assert space.parse(space.format(architecture)) == architecture


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("e3_i24", "e4_i24", "operation: expected one of conv, e1, e3, e6"),
        ("k5_s22_e3", "k7_s22_e3", "kernel: expected one of k3, k5"),
        ("o40_se0.25", "o48_se0.25", "width: expected one of o24, o32, o40"),
        ("r4_k3", "r6_k3", "layers: expected one of r3, r4, r5"),
        ("i24_o40", "i16_o40", "block 2: r3_k5_s22_e3_i16_o40_se0.25 reads r3_k5_s22_e3_i24_o40_se0.25"),
        ("o40_se0.25", "o40_se0.5", "block 2: .*_se0.5 reads r3_k5_s22_e3_i24_o40"),
        (" r1_k3_s11_e6_i160_o320", "", "expected 7 block strings .*, got 6"),
    ],
)
def test_wrong_block_strings_are_refused(old, new, message):
    space = MnasNet()
    text = space.format(space.parse("MnasNet-A1"))
    assert old in text
    with pytest.raises(InvalidArchitecture, match=message):
        space.parse(text.replace(old, new))


def test_shortcuts_that_nothing_takes_do_not_count():
    space = MnasNet()
    a1 = space.parse("MnasNet-A1")
    last, third = (*a1[:39], 2, *a1[40:]), (*a1[:15], 2, *a1[16:])
    assert space.format(last).endswith("_noskip")
    assert space.canonical(last) == space.canonical(a1)  # one layer, which changes the width
    assert space.canonical(third) != space.canonical(a1)  # three layers, of which two do not
    pooled = (*a1[:15], 1, *a1[16:])
    networks = [build(lambda a=a: space.network(a, DIGITS, channels=4), 0) for a in (a1, last, third, pooled)]
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = [network(images) for network in networks]
    assert torch.equal(outputs[0], outputs[1])
    assert not any(torch.equal(outputs[0], other) for other in outputs[2:])


# -- compound scaling ------------------------------------------------------------------------------------


def test_the_grid_is_what_is_within_five_percent_of_two():
    space = EfficientNet()
    assert space.factors(space.parse("EfficientNet")) == (1.2, 1.1, 1.15)
    assert math.isclose(1.2 * 1.1**2 * 1.15**2, 1.92027)
    near = [
        (d, w, r)
        for d, w, r in itertools.product(space.depths, space.widths, space.resolutions)
        if 1.9 <= d * w * w * r * r <= 2.1
    ]
    assert sorted(map(space.factors, space.enumerate())) == sorted(near)
    assert space.size() == len(near) == 32


def test_multiply_adds_grow_about_twofold_with_each_power():
    (_, base), (_, once), (_, twice) = (sizes(EfficientNet(exponent=n), "EfficientNet") for n in (0, 1, 2))
    # Layers are rounded up, and channels are multiples of 8.
    assert 1.5 < once / base < 2.6
    assert 1.5 < twice / once < 2.6


@pytest.mark.parametrize(
    ("width", "depth", "params"),
    [(1.0, 1.1, 7_794_184), (1.1, 1.2, 9_109_994), (1.4, 1.8, 19_341_616), (2.0, 3.1, 66_347_960)],
)
def test_the_rounding_is_that_of_the_published_networks(width, depth, params):
    """B1, B2, B4 and B7, whose factors the authors rounded."""
    space = EfficientNet(depths=[depth], widths=[width], resolutions=[1], tolerance=99)
    with torch.device("meta"):
        network = space.network((0, 0, 0), IMAGENET)
    assert parameter_count(network) == params


def test_resolution_is_decided():
    space = EfficientNet(depths=[1.0], widths=[1.0], resolutions=[1.4, 1.45], tolerance=0.1, small=True)
    networks = [build(lambda a=a: space.network(a, DIGITS, channels=4), 0) for a in space.enumerate()]
    seen = []
    for network in networks:
        network.stem.register_forward_pre_hook(lambda _module, inputs: seen.append(tuple(inputs[0].shape[2:])))
        network.eval()(torch.rand(1, 1, 20, 10))
    assert seen == [(28, 14), (29, 14)]
    coarse, fine = (multiply_adds(network, (1, 40, 40)) for network in networks)
    assert coarse < fine


# -- how they are trained --------------------------------------------------------------------------------


def test_fair_paths_take_every_option_equally_often():
    space = FairNAS()
    fair, uniform = FairPaths(space, 0), UniformPaths(space, 0)
    drawn = {"fair": [], "uniform": []}
    for _ in range(1_000):
        drawn["fair"] += fair.draw(0.0)
        drawn["uniform"] += [path for _ in range(6) for path in uniform.draw(0.0)]
    counts = {name: np.stack([np.bincount(c, minlength=6) for c in np.array(p).T]) for name, p in drawn.items()}
    assert (counts["fair"] == 1_000).all()
    # 19 * 6 counts of a binomial distribution: sqrt(6000 * 1/6 * 5/6) = 28.87, within four standard errors of 6.6 %.
    assert counts["uniform"].mean() == 1_000
    assert abs(counts["uniform"].std() / math.sqrt(6_000 * 5 / 36) - 1) < 0.27


def test_spos_never_evaluates_twice():
    from archsearch import search
    from archsearch.controllers import ElitistEvolution
    from archsearch.evaluators import Function

    space = SPOS(units=["shuffle3", "xception"], small=True)  # 256 architectures: many proposals come again
    asked = []

    def score(text):
        asked.append(text)
        return sum(hash_of(name, i) for i, name in enumerate(text.split("-")))

    controller = ElitistEvolution(population_size=20, parents=5, mutations=10, crossovers=10, mutation_probability=0.1)
    result = search(space, controller, Function(score), trials=160, seed=0, duplicates="reuse")
    assert len(asked) == len(set(asked)) == 160
    assert len({trial.architecture for trial in result.history}) == 160


def hash_of(name, i):
    """Some number, the same in every process."""
    return (sum(map(ord, name)) * (i + 3)) % 17


def test_a_relaxed_search_on_fbnet(tmp_path):
    from archsearch.differentiable.relaxations import Gumbel
    from archsearch.evaluators import Differentiable, Training

    space = FBNet(small=True)
    training = Training("digits", train_examples=32, batch_size=16, skeleton={"channels": 4})
    evaluator = Differentiable(training, epochs=1, relaxation=Gumbel(hard=True))
    evaluator.folder = tmp_path
    evaluator.start(space)
    evaluator.prepare()
    assert evaluator.derived() in space
    assert np.isclose(sum(evaluator.probabilities(())), 1)
    with torch.device("meta"):
        network = space.super_network(DIGITS, channels=4)
    assert len(space.relaxed_choices()) == len(network.layers) == 12


def test_blocks_without_groups_are_handed_on_exactly():
    space = FBNet(small=True)
    parent, grown, grouped = (
        build(lambda t=t: space.network(space.parse(f"k3e1-{t}" + "-k3e3" * 9), DIGITS, channels=4), i).eval()
        for i, t in enumerate(("k3e3-identity", "k5e6-k3e1", "k3e1g2-identity"))
    )
    images = torch.rand(4, *DIGITS.input_shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    assert space.morph(parent, grown, generator)
    with torch.no_grad():
        torch.testing.assert_close(grown(images), parent(images), rtol=1e-4, atol=1e-5)
    assert not space.morph(parent, grouped, generator)
