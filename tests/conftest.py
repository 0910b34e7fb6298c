"""What all tests share: one thread per process, so that torch sums in the same order everywhere; evaluators that take
seconds to prepare; the fault table."""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("*_lab.py")))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # a Ray starts the workers that a test asks for only
# Equal to the last bit is what the same sums on the processor are; `benchmarks/cuda.py` tries the other device.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

FAULT_COLUMNS = ("fault", "how", "asked", "completed", "failed", "lost", "twice", "faults counted")


def pytest_addoption(parser):
    parser.addoption("--fault-table", action="store_true", help="print what the tests of the fault matrix found")


def pytest_collection_modifyitems(items):
    """Refuses names of tests that differ from process to process: several workers could not share them out."""
    if unsteady := [item.nodeid for item in items if " object at 0x" in item.nodeid]:
        raise pytest.UsageError(f"a test is named by an address, give it an id: {unsteady[0]}")


def pytest_terminal_summary(terminalreporter, config):
    """The fault matrix as a table: the rows that its tests hand over by ``record_property``."""
    if not config.getoption("fault_table"):
        return
    reports = [report for outcome in ("passed", "failed", "skipped") for report in terminalreporter.getreports(outcome)]
    rows = [["test", *FAULT_COLUMNS, "result"]]
    for report in reports:
        for name, facts in report.user_properties:
            if name == "fault matrix" and (report.when == "call" or report.skipped):
                number = str(len(rows))
                rows.append([number, *(str(facts.get(column, "")) for column in FAULT_COLUMNS), report.outcome])
    rows[0][0] = ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    terminalreporter.section("fault matrix")
    for row in rows:
        terminalreporter.write_line("  ".join(map(str.ljust, row, widths)).rstrip())


# -- the fault matrix ---------------------------------------------------------------------------------------------


@pytest.fixture
def row(record_property):
    """Fills in columns of this test's row of the table."""
    facts = {}
    record_property("fault matrix", facts)
    return facts.update


@pytest.fixture
def no_ray():
    """For tests that start a Ray of their own."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def _ray_ends():
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def on_ray(_ray_ends):
    """A Ray on this machine, kept for the next test of the file that wants it."""
    import ray

    if not ray.is_initialized():
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


from trust_lab import sound, stranger  # noqa: E402, F401  # fixtures of several files

# -- small evaluators that take seconds to prepare, shared by all tests of a process; none of these may change them ----


@pytest.fixture(scope="session")
def trained():
    """A ``OneShot`` on NAS-Bench-201."""
    from one_shot_lab import prepared

    return prepared()


@pytest.fixture(scope="session")
def hyper():
    """One whose weights a hyper-network writes."""
    from one_shot_lab import prepared

    return prepared(source="hyper_network")


@pytest.fixture(scope="session")
def macro():
    """One on a chain space."""
    from one_shot_lab import MACRO, prepared

    from archsearch.spaces import NASBenchMacro

    return prepared(space=NASBenchMacro(), training=MACRO)


@pytest.fixture(scope="session")
def mobile():
    """One on another chain space."""
    from one_shot_lab import MACRO, prepared

    from archsearch.spaces import MobileNet

    return prepared(space=MobileNet(), training=MACRO)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A search by training."""
    from artefacts_lab import searched, training

    return searched(tmp_path_factory.mktemp("shared") / "r", training())


@pytest.fixture(scope="session")
def published_cells() -> dict[str, tuple[str, int]]:
    """Hash to cell, in our notation, and parameters, of the tables of EC-NAS."""
    from archsearch.files.embedded import embedded_columns

    found = {}
    for file in ("ecnas_5v_4epochs", "ecnas_4v"):
        columns = embedded_columns(file, ("hash", "adjacency", "ops", "params")).values()
        found |= {code: (f"{adjacency} {ops}", params) for code, adjacency, ops, params in zip(*columns, strict=True)}
    return found


# -- a comparison of evaluators; no test may change it ----------------------------------------------------------------


@pytest.fixture(scope="session")
def crossing():
    """Cheap and bad, dear and good, and one that pays a set-up: the best one changes with the budget."""
    from comparison_lab import CHEAP, DEAR, SHARED, SPACE, Known

    from archsearch.controllers import RandomSearch
    from archsearch.judging.comparison import compare

    return compare(
        SPACE,
        {"cheap": CHEAP, "dear": DEAR, "shared": SHARED},
        Known(noise=0.01, each=50.0),
        controller=RandomSearch(),
        samples=200,
        seeds=10,
        trials=400,
        budgets=[30, 200, 1_500, 20_000],
        seed=1,
    )


@pytest.fixture(scope="module")
def store():
    """A store on this machine that speaks S3, for the tests of a file."""
    import stores_lab

    with stores_lab.started() as found:
        yield found


@pytest.fixture
def one_machine(tmp_path, monkeypatch):
    """What a machine has of a store (its copies, credentials), and a current folder, of the test's own."""
    import stores_lab

    for name, value in stores_lab.machine(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
