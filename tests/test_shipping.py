"""Code on the workers of a cluster, `ray job submit`, and metrics as Prometheus sees them.

The cluster of these tests has nodes of another Python environment: all libraries, but no archsearch.
"""

import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest
from shipping_lab import CLUSTER, ROOT, Cluster, free_port, wait_for

from archsearch.executors.ray.watch import can_connect
from archsearch.keeping.folder import RunFolder

slow = pytest.mark.slow


# -- a cluster whose nodes have no archsearch ------------------------------------------------------


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python that has the libraries of this one, but no archsearch."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (own,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file, whose own .pth files are not read: an editable archsearch is not found.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (own / "libraries.pth").write_text("\n".join(paths))
    python = folder / "bin" / "python"
    command = [python, "-c", "import ray; import archsearch"]
    tried = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "No module named 'archsearch'" in tried.stderr, "archsearch must be installed as editable for these tests"
    return python


@pytest.fixture(scope="module")
def cluster(bare_python):
    with contextlib.ExitStack() as stack:
        yield Cluster(bare_python, stack)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The folder that is shipped: what the built wheel holds, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("archsearch", "controllers", "evaluators", "spaces"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md"):
        shutil.copy(ROOT / name, folder / "tree")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(folder / "tree")]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "shipped"), str(wheel)], check=True)
    return folder / "shipped" / "archsearch"


@pytest.fixture
def lab(tmp_path):
    """The example as a package of the user's, in two modules, in a folder that is on nobody's import path."""
    package = tmp_path / "code" / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "settings.py").write_text("NOISE = 0.01\n")
    text = (CLUSTER / "search.py").read_text()
    assert text.count("NOISE = 0.01\n") == 1
    (package / "parts.py").write_text(text.replace("NOISE = 0.01\n", "from my_lab.settings import NOISE\n"))
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "code"


def begin(cluster, trials=40, workers=3, evaluator="my_lab.parts.Noisy"):
    command = f"run --space archsearch.Space --space.arities [5,5,5,5,5,5] --evaluator {evaluator}"
    command += f" --controller my_lab.parts.Climber --executor ray --address {cluster.address} --workers {workers}"
    return shlex.split(f"{command} --trials {trials} --seed 0 --quiet --out run")


def check(folder, trials):
    ids = [trial.id for trial in RunFolder(folder).trials(0)]
    assert sorted(ids) == list(range(trials))


@slow
@pytest.mark.parametrize("missing", ["archsearch", "my_lab"])
def test_without_the_code_a_search_ends_soon_with_one_message(missing, cluster, shipped, lab):
    folder = lab.parent / "elsewhere"
    modules = [str(shipped)] if missing == "my_lab" else [str(lab / "my_lab")]
    arguments = ["--runtime_env", json.dumps({"py_modules": modules})]
    done = cluster.archsearch(*begin(cluster), *arguments, folder=folder, path=[lab])
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("archsearch:")]
    assert len(said) == 1
    assert f"No module named '{missing}'" in said[0]
    assert "runtime_env" in said[0]
    assert "Traceback" not in done.stderr
    # Nothing is spoilt: with the code, the same run goes on.
    arguments = ["--runtime_env", json.dumps({"py_modules": [str(shipped), str(lab / "my_lab")]})]
    again = ["resume", "run", "--executor", "ray", "--address", cluster.address, "--quiet", *arguments]
    done = cluster.archsearch(*again, folder=folder, path=[lab])
    assert done.returncode == 0, done.stderr
    check(folder / "run", 40)


@slow
def test_an_environment_that_cannot_be_built_is_one_message(cluster, lab):
    wheel = lab / "gone-1.0-py3-none-any.whl"
    wheel.write_text("no wheel")
    arguments = ["--runtime_env", json.dumps({"py_modules": [str(wheel)]})]
    done = cluster.archsearch(*begin(cluster), *arguments, folder=lab, path=[lab])
    assert done.returncode == 1
    assert "archsearch: the runtime_env cannot be built on a node: " in done.stderr
    assert "gone-1.0" in done.stderr
    assert "Traceback" not in done.stderr


@slow
@pytest.mark.parametrize("way", ["py_modules", "working_dir"])
def test_a_package_of_the_drivers_is_shipped_and_so_is_archsearch(way, cluster, shipped, lab):
    folder = lab.parent / "elsewhere"
    if way == "py_modules":
        arguments = ["--runtime_env", json.dumps({"py_modules": [str(shipped), "../code/my_lab"]})]
    else:
        shutil.copytree(shipped, lab / "archsearch")
        arguments = ["--runtime_env.working_dir", "../code"]
    done = cluster.archsearch(*begin(cluster), *arguments, folder=folder, path=[lab])
    assert done.returncode == 0, done.stderr
    check(folder / "run", 40)
    assert {trial.worker for trial in RunFolder(folder / "run").trials(0)} == {0, 1, 2}
    done = cluster.archsearch("resume", "run", "--trials", "60", "--quiet", folder=folder, path=[lab])
    assert done.returncode == 0, done.stderr
    check(folder / "run", 60)
    done = cluster.archsearch("resume", "elsewhere/run", "--trials", "80", folder=lab.parent, path=[lab])
    assert done.returncode == 2, "relative paths count from the folder in which it is resumed"
    assert "runtime_env: nothing is at '../code" in done.stderr


@slow
def test_what_a_gitignore_kept_from_the_workers_is_named(cluster, shipped, lab):
    shutil.copytree(shipped, lab / "archsearch")
    (lab / ".gitignore").write_text("my_lab\n")
    arguments = ["--runtime_env.working_dir", str(lab)]
    done = cluster.archsearch(*begin(cluster), *arguments, folder=lab.parent / "elsewhere", path=[lab])
    assert done.returncode == 1
    assert f"{lab / 'my_lab'} is there, but was not shipped: Ray leaves out what .gitignore" in done.stderr
    assert "Traceback" not in done.stderr


@slow
def test_what_a_script_defines_is_sent_to_the_workers(cluster, shipped, tmp_path):
    """The script comes by standard input: there is no file that a worker could import."""
    text = (CLUSTER / "search.py").read_text()
    whole = "RayExecutor(workers=2, "
    assert text.count(whole) == 1
    text = text.replace(whole, f"{whole}runtime_env={{'py_modules': [{str(shipped)!r}]}}, ")
    command = [sys.executable, "-", cluster.address]
    done = subprocess.run(
        command, input=text, cwd=tmp_path, env=cluster.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "300 completed, 0 failed" in done.stdout


@slow
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGTERM] * 3], ids=["once", "again"])
def test_a_driver_that_is_told_to_end_loses_nothing(signals, cluster, shipped, lab):
    """So does Kubernetes, and ``ray job stop``, which kills it three seconds later."""
    environment = cluster.environment | {"PYTHONPATH": str(lab)}
    arguments = ["--runtime_env", json.dumps({"py_modules": [str(shipped), str(lab / "my_lab")]})]
    program = [sys.executable, "-c", "import sys; from archsearch.cli import main; sys.exit(main())"]
    program += [*begin(cluster, trials=5000), *arguments]
    process = subprocess.Popen(program, cwd=lab, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    journal = lab / "run" / "journal" / "journal-000001.jsonl"
    wait_for(lambda: process.poll() is not None or (journal.exists() and journal.stat().st_size > 20_000), 60)
    assert process.poll() is None, process.stderr.read()
    for each in signals:
        process.send_signal(each)
        time.sleep(0.05)
    process.communicate(timeout=30)
    before = {trial.id: trial for trial in RunFolder(lab / "run").trials(0)}
    assert len(before) > 20
    total = len(before) + 50
    done = cluster.archsearch("resume", "run", "--trials", str(total), "--quiet", folder=lab, path=[lab])
    assert done.returncode == 0, done.stderr
    after = list(RunFolder(lab / "run").trials(0))
    assert len(after) == len({trial.id for trial in after}) == total
    assert {trial.id: trial for trial in after if trial.id in before} == before


@slow
def test_a_wrong_token_is_one_message(cluster, lab):
    (lab / "token").write_text("wrong")
    environment = cluster.environment | {"RAY_AUTH_TOKEN_PATH": str(lab / "token"), "PYTHONPATH": str(lab)}
    program = [sys.executable, "-c", "import sys; from archsearch.cli import main; sys.exit(main())", *begin(cluster)]
    done = subprocess.run(program, cwd=lab, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "archsearch: cannot reach a Ray cluster at" in done.stderr
    assert "wants the same one" in done.stderr
    assert "Traceback" not in done.stderr


# -- jobs, and metrics as Prometheus sees them -----------------------------------------------------


@slow
def test_a_job_is_submitted_stopped_and_resumed_and_its_metrics_are_right(lab):
    for module in ("aiohttp_cors", "prometheus_client", "opentelemetry"):
        pytest.importorskip(module, reason="needs the extra cluster")
    with contextlib.ExitStack() as stack:
        port = free_port()
        own = Cluster(sys.executable, stack, dashboard=port)
        api = ["--address", f"http://127.0.0.1:{port}"]
        wait_for(lambda: can_connect(f"127.0.0.1:{port}"), 60)

        def job(*arguments):
            command = [sys.executable, "-m", "ray.scripts.scripts", "job", arguments[0], *api, *arguments[1:]]
            return subprocess.run(
                command, cwd=lab, env=own.environment, capture_output=True, text=True, check=False, timeout=120
            )

        out = lab.parent / "run"
        program = [sys.executable, "-c", "import sys; from archsearch.cli import main; sys.exit(main())"]
        options = begin(own, trials=100_000)
        options = [*options[: options.index("--address")], "--address", "auto", "--workers", "2"]
        options += ["--trials", "100000", "--seed", "0", "--out", str(out)]
        submit = ["--no-wait", "--submission-id", "first", "--working-dir", ".", "--", *program, *options]
        wait_for(lambda: job("submit", *submit).returncode == 0, 60)  # the node's agent comes last
        wait_for(lambda: sum(1 for _ in out.glob("trials/*")) and len(list(RunFolder(out).trials(0))) > 30, 90)
        assert "STOPPED" in job("stop", "first").stdout + job("status", "first").stdout.upper()
        done = len(list(RunFolder(out).trials(0)))
        submit = ["--submission-id", "second", "--working-dir", ".", "--", *program]
        finished = job("submit", *submit, "resume", str(out), "--trials", str(done + 40))
        assert finished.returncode == 0, finished.stdout
        check(out, done + 40)
        wait_for(lambda: metrics(own).get(("archsearch_evaluations_total", "completed")) == done + 40, 60)
        found = metrics(own)
        assert found["archsearch_evaluation_seconds_total", "completed"] > 0.02 * (done + 40) * 0.9
        assert found["archsearch_workers", ""] == found["archsearch_pending", ""] == 0


def metrics(cluster):
    """What all nodes say of archsearch: (name, kind) to the sum over the drivers."""
    ask = "import ray; ray.init({!r}, log_to_driver=False, logging_level='ERROR'); print([(n['NodeManagerAddress'], "
    ask += "n['MetricsExportPort']) for n in ray.nodes() if n['Alive']])"
    command = [sys.executable, "-c", ask.format(cluster.address)]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=True)
    sums = Counter()
    for host, port in json.loads(done.stdout.strip().replace("(", "[").replace(")", "]").replace("'", '"')):
        text = urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10).read().decode()
        for name, labels, value in re.findall(r"^ray_(archsearch_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
            kind = re.search(r'kind="(\w+)"', labels)
            sums[name, kind[1] if kind else ""] += float(value)
    return sums
