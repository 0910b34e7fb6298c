"""Resources of a search by gradient other than multiply-adds: against enumeration, and what is refused."""

import math

import numpy as np
import pytest
import torch
from common import run_command
from differentiable_lab import CELLS, CHAIN, DIGITS, parameters, super_network
from differentiable_search_lab import make

from archsearch.differentiable.optimisations import gradients
from archsearch.differentiable.relaxations import Softmax
from archsearch.differentiable.resources import Resource
from archsearch.errors import MissingAbility, TableError, UsageError
from archsearch.limits import LatencyTable, rows_needed
from archsearch.networks.multiply_adds import parameter_count
from archsearch.networks.network import build
from archsearch.spaces import DARTS

TINY = type(CHAIN)(stages=[(8, 2, 1), (12, 1, 2)], candidates=[(3, 1), (5, 2)], stem_channels=8, head_channels=16)


def written(tmp_path, space=TINY, scale=0.01, fixed=True):
    """A table with a row for each option of each decision."""
    rng = np.random.default_rng(0)
    rows = [f"{decision},{option},{scale * rng.random()}" for decision, option in rows_needed(space)]
    path = tmp_path / "latency.csv"
    path.write_text("\n".join(["decision,option,seconds", *([",0,0.02"] if fixed else []), *rows]) + "\n")
    return str(path)


def mean_over_all(space, strengths, cost):
    shares = [(some / some.sum()).tolist() for some in strengths]
    each = [
        (math.prod(share[option] for share, option in zip(shares, architecture, strict=True)), cost(architecture))
        for architecture in space.enumerate()
    ]
    assert sum(p for p, _ in each) == pytest.approx(1)
    return sum(p * value for p, value in each)


def test_expected_parameters_are_the_mean_over_all_architectures():
    strengths = [some.double() for some in Softmax().all_strengths(parameters(TINY))]
    costs = Resource(of="params").costs(TINY, super_network(TINY), DIGITS.input_shape)
    with torch.device("meta"):
        mean = mean_over_all(TINY, strengths, lambda a: parameter_count(TINY.network(a, DIGITS)))
    assert costs.expected(strengths).item() == pytest.approx(mean, rel=1e-6)


def test_parameters_of_cells_add_up():
    costs = Resource(of="params").costs(CELLS, super_network(), DIGITS.input_shape)
    for seed in range(5):
        architecture = CELLS.sample(np.random.default_rng(seed))
        network = build(lambda a=architecture: CELLS.network(a, DIGITS), 0)
        assert costs.of(CELLS.selected(architecture)) == parameter_count(network)


def test_expected_latency_is_the_mean_over_all_architectures(tmp_path):
    path = written(tmp_path)
    strengths = [some.double() for some in Softmax().all_strengths(parameters(TINY))]
    costs = Resource(of="latency", latency_table=path).costs(TINY, super_network(TINY), DIGITS.input_shape)
    table = LatencyTable(path, TINY)
    mean = mean_over_all(TINY, strengths, table.seconds)
    assert costs.expected(strengths).item() == pytest.approx(1000 * mean, rel=1e-6)


@pytest.mark.parametrize("form", ["added", "multiplied"])
def test_latency_pulls_towards_what_is_fast(tmp_path, form):
    resource = Resource(0.2, form, of="latency", latency_table=written(tmp_path))
    resource.check(TINY)
    costs, found = resource.costs(TINY, super_network(TINY), DIGITS.input_shape), parameters(TINY, scale=0.0)
    (slope,) = gradients(resource.loss(torch.tensor(2.0), costs, Softmax().all_strengths(found)), [found.logits])
    for some, own in zip(found.by_choice(slope), costs.candidates, strict=True):
        assert int(some.argmax()) == int(np.argmax(own))


@pytest.mark.parametrize("of", ["params", "latency"])
def test_a_search_is_pulled_by_what_is_counted(tmp_path, of):
    settings = {"of": of, "latency_table": written(tmp_path, CELLS) if of == "latency" else None}
    learnt = []
    for resource in (None, Resource(50.0, **settings)):
        evaluator = make(resource=resource, architecture_rate=0.1)
        evaluator.start(CELLS)
        evaluator.prepare()
        costs = Resource(**settings).costs(CELLS, super_network(), DIGITS.input_shape)
        shares = evaluator._shared._facts["strengths"]
        learnt.append(costs.expected([torch.tensor(some) for some in shares]).item())
    assert learnt[1] < learnt[0]


def test_tables_are_read_before_anything_is_spent(tmp_path):
    path = written(tmp_path)

    def start(space, **settings):
        evaluator = make(training={"skeleton": {"channels": 4}}, resource=Resource(of="latency", **settings))
        evaluator.start(space)
        return evaluator

    assert start(TINY, latency_table=path).resource.fingerprints().keys() == {"latency_table"}
    with pytest.raises(MissingAbility, match=r"what DARTS mixes are no decisions of it; use a chain such as Mob"):
        start(DARTS(), latency_table=path)
    with pytest.raises(TableError, match="expected a row for each option of each decision of MobileNet, got none for"):
        start(CHAIN, latency_table=path)
    with pytest.raises(TableError, match="no such file"):
        start(TINY, latency_table=str(tmp_path / "nowhere.csv"))
    fast = written(tmp_path, scale=1e-6, fixed=False)
    with pytest.raises(UsageError, match=r"multiplied takes the logarithm of milliseconds, which must be above 1, .*"):
        start(TINY, form="multiplied", latency_table=fast)
    start(TINY, form="added", latency_table=fast)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"of": "energy"}, "Resource: of: expected one of flops, params, latency, got 'energy'"),
        ({"of": "latency"}, "Resource: latency_table: expected a file with of: latency, got None"),
        ({"latency_table": "t.csv"}, "Resource: latency_table: expected none with of: flops, got 't.csv'"),
        ({"form": "multiplied", "reference": 1.0}, "Resource: reference: "),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        Resource(**settings)


def test_a_missing_table_is_one_line_on_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--evaluator.resource.of", "latency", "--evaluator.resource.latency_table", "no.csv"]
    status, _, err = run_command(capsys, "run", "--preset", "fbnet", *options, "--out", "r")
    assert status == 2
    assert err.endswith("no.csv: no such file\n")
    assert err.count("\n") == 1
