"""Marks in models: what they decide, rules by name, numbers of channels, and what is refused."""

import functools

import pytest
import torch
from marked_models import ResNet
from torch import nn

from archsearch.errors import UsageError
from archsearch.marking import Depth, Options, Width, choose, mark
from archsearch.marking.reading import Reader
from archsearch.marking.widths import Calls, counted
from archsearch.networks.network import InputShape, build
from archsearch.spaces import Marked


def two(**named):
    return choose(nn.Linear(2, 2), nn.Identity(), **named)


def decided(*modules):
    return {
        name: (each.options, dict(each.when)) for name, each in Reader(nn.Sequential(*modules), "it").decisions.items()
    }


def test_marks_inside_an_alternative_count_where_it_is_chosen():
    inner = nn.Sequential(two(), nn.ReLU())
    assert decided(choose(inner, nn.Identity(), nn.Sequential(two()))) == {
        "0": (("Sequential.1", "identity", "Sequential.2"), {}),
        "0.0.0": (("Linear", "identity"), {"0": {0}}),
        "0.2.0": (("Linear", "identity"), {"0": {2}}),
    }


def test_blocks_that_are_always_there_have_decisions_that_are_always_made():
    found = decided(choose.depth(two(), two(), two(), least=1))
    assert found == {
        "0.depth": ((1, 2, 3), {}),
        "0.0": (("Linear", "identity"), {}),
        "0.1": (("Linear", "identity"), {"0.depth": {1, 2}}),
        "0.2": (("Linear", "identity"), {"0.depth": {2}}),
    }


def test_marks_of_one_name_are_one_decision():
    found = decided(choose(two(name="x"), nn.Identity(), two(name="x"), name="a"), two(name="y"))
    assert found["x"] == (("Linear", "identity"), {"a": {0, 2}})
    found = decided(choose(two(name="x"), nn.Identity(), name="a"), two(name="x"))
    assert found["x"] == (("Linear", "identity"), {})  # outside of it, too: always
    assert list(decided(two(name="x"), choose(nn.Sequential(two(name="x")), nn.Identity(), name="a"))) == ["x", "a"]


def test_widths_are_called_by_the_module_around_their_layers():
    def block():
        one, other = choose.width(2, 4), choose.width(4, 8)
        return nn.Sequential(nn.Linear(3, one), nn.Linear(one, other), nn.Linear(other, 3))

    with counted(Calls()):
        found = decided(block(), block(), nn.Linear(3, choose.width(5, 6, name="end")))
    assert list(found) == ["0.width.1", "0.width.2", "1.width.1", "1.width.2", "end"]


def test_the_numbers_of_widths():
    width = choose.width(4, 8)
    assert (int(width), width * 3, int(3 * width), int(width // 2)) == (8, width * 3, 24, 4)
    assert (width * 3).sizes == (12, 24)
    assert width not in (8, choose.width(4, 8), width * 2)
    assert width // width == 1
    assert nn.Conv2d(width, width, 3, groups=width).weight.shape == (8, 1, 3, 3)
    for wrong in (lambda: width + 1, lambda: 1 - width, lambda: width * 0.5, lambda: width // 3):
        with pytest.raises(UsageError, match=r"choose\.width: expected"):
            wrong()
    with pytest.raises(UsageError, match="whole number"):
        width * choose.width(1, 2)


class Layers(nn.Module):
    """Each kind of layer that can be narrow; a flattened image before a linear one."""

    def __init__(self, num_classes=10):
        super().__init__()
        width = choose.width(2, 3, 6, name="w")
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.Flatten(2),
            nn.Conv1d(2 * width, width, 3, 2),
            nn.Flatten(),
            nn.Linear(31 * width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.Linear(2 * width, num_classes),
        )

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("option", [0, 1, 2])
def test_every_layer_computes_with_its_leading_channels(option):
    space, task = Marked(Layers), InputShape((1, 8, 8), 3)
    shared = build(lambda: space.super_network(task), 1).eval()
    alone = build(lambda: space.network((option,), task), 2).eval()
    for name, value in alone.state_dict().items():
        value.copy_(shared.state_dict()[name][tuple(map(slice, value.shape))])
    images = torch.rand(2, 1, 8, 8)
    assert torch.allclose(shared(images, (option,)), alone(images), atol=1e-6)


def test_rules_put_marks_in_by_name():
    model = mark(
        ResNet(deep=False, narrow=False),
        {
            "layer?.conv1": lambda module: {"as_it_is": module, "nothing": nn.Identity()},
            "layer2.*.bn1": lambda module: [module, nn.BatchNorm2d(module.num_features, affine=False)],
            "layer2": functools.partial(choose.depth, name="deep"),
        },
    )
    found = Reader(model, "it").decisions
    assert [name for name in found if "conv2" not in name] == ["layer1.conv1", "deep", "layer2.0.bn1", "layer2.1.bn1"]
    assert isinstance(model.layer1.conv1, Options)
    assert isinstance(model.layer2, Depth)
    assert type(model) is ResNet
    assert found["layer1.conv1"].options == ("as_it_is", "nothing")


class Nothing(nn.Module):
    """Has no marks."""


class Depends(nn.Module):
    """What is marked in it depends on the task."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.ModuleList([two() for _ in range(num_classes)])


REFUSED = {
    "expected two or more modules": lambda: choose(nn.Identity()),
    "got 3": lambda: choose(nn.Identity(), 3),
    "choose.depth: blocks: expected more modules than least=1": lambda: choose.depth(nn.Identity()),
    "choose.depth: deep: expected more": lambda: choose.depth(nn.Identity(), nn.ReLU(), least=2, name="deep"),
    "expected two or more whole numbers >= 1, rising": lambda: choose.width(8, 4),
    "such as choose.width(8, 16), got (0, 4)": lambda: choose.width(0, 4),
    "mark: 'no*': expected a pattern of names of modules, such as 0": lambda: mark(
        nn.Sequential(nn.ReLU()), {"no*": two}
    ),
    "mark: '0': expected a list of alternatives": lambda: mark(nn.Sequential(nn.ReLU()), {"0": lambda module: module}),
    "x: expected the same options": lambda: decided(two(name="x"), choose(nn.ReLU(), nn.GELU(), name="x")),
    "x: its marks stand in alternatives of different decisions": lambda: decided(
        choose(two(name="x"), nn.Identity(), name="a"), choose(two(name="x"), nn.Identity(), name="b")
    ),
    "a GroupNorm has no leading channels": lambda: decided(nn.GroupNorm(2, choose.width(4, 8))),
    "a Embedding has no leading channels": lambda: decided(nn.Embedding(7, choose.width(4, 8))),
    "expected a convolution in one group, or with a group for each": lambda: decided(
        nn.Conv2d(4, choose.width(4, 8), 1, groups=2)
    ),
    "expected a LayerNorm of one dimension": lambda: decided(nn.LayerNorm((3, choose.width(4, 8)))),
    "Marked: Nothing: expected marks, found none": lambda: Marked(Nothing),
    "Marked: model: expected a class or function": lambda: Marked(ResNet()),
    "Marked: model: expected what makes an nn.Module": lambda: Marked(dict),
    "Marked: kind: expected": lambda: Marked(ResNet, kind="next-token prediction"),
    "Marked: training: expected any of learning_rate": lambda: Marked(ResNet, training={"epochs": [1, 2]}),
    "its marks differ from those": lambda: Marked(Depends).super_network(InputShape((1, 8, 8), 3)),
    "plain: a super-network stands for all": lambda: Marked(ResNet).super_network(InputShape((1, 8, 8), 3)).plain(),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_makes_no_sense_is_refused(message):
    with pytest.raises(UsageError) as caught:
        REFUSED[message]()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_width_is_a_number_where_nobody_searches():
    """A model with marks is a model: made and called by hand it is its largest form, with the first alternatives."""
    assert isinstance(choose.width(2, 4), Width)
    assert ResNet()(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert ResNet(narrow=True)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
