"""The example files for clusters."""

import importlib
import json
import os
import re
import subprocess
from pathlib import Path

import yaml
from shipping_lab import CLUSTER, parsed

from archsearch import search
from archsearch.space import Space
from archsearch.testing import check_controller


def test_ssh_cluster_is_what_the_launcher_wants():
    import jsonschema
    import ray

    config = yaml.safe_load((CLUSTER / "ssh.yaml").read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    assert config["provider"]["type"] == "local"
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token" in config[commands][-1]
        assert "~/.ray/auth_token" in config["file_mounts"]


def test_command_in_the_ssh_file_is_one():
    (command,) = re.findall(r"'(archsearch [^']*)'", (CLUSTER / "ssh.yaml").read_text())
    assert parsed(command)["executor"] == "ray"


def test_kubernetes_job_is_whole():
    volume, code, job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], workers)]
    (image,) = {container["image"] for pod in pods for container in pod["containers"]}
    assert "archsearch" in image
    for pod in pods:
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts == {"runs": "/runs", "code": "/code"}
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
        assert pod["volumes"][1]["configMap"]["name"] == code["metadata"]["name"]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_kubernetes_job_runs_and_resumes_by_commands_that_exist(tmp_path):
    _, code, job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text())
    (script,) = code["data"]
    assert job["spec"]["entrypoint"] == f"bash /code/{script}"
    text = code["data"][script]
    given = parsed(re.search(r"archsearch run (?:.*\\\n)*.*", text)[0].replace("\\\n", " "))
    limits = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"]
    assert given["gpus"] == limits["limits"]["nvidia.com/gpu"]
    assert given["cpus"] <= float(limits["limits"]["cpu"])
    assert given["workers"] == job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"]
    assert given["start_seconds"] > 600, "a pod with a GPU takes its time"
    assert given["out"].startswith("/runs/")
    # The script itself, with a stand-in for the command: it runs at first and resumes when there is a run.
    (tmp_path / "archsearch").write_text('#!/bin/sh\necho "$1"\n')
    (tmp_path / "archsearch").chmod(0o755)
    (tmp_path / "script").write_text(text.replace("/code", ".").replace("/runs", str(tmp_path)))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for command in ("run", "resume"):
        done = subprocess.run(
            ["sh", "script"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == command
        (tmp_path / "first").mkdir(exist_ok=True)
        (tmp_path / "first" / "config.yaml").touch()


def test_example_script_is_a_controller_and_an_evaluator(monkeypatch):
    monkeypatch.syspath_prepend(str(CLUSTER))
    monkeypatch.setenv("PYTHONPATH", str(CLUSTER))  # one of the checks looks from another process
    module = importlib.import_module("search")
    check_controller(module.Climber)
    result = search(Space(arities=[5] * 6), module.Climber(), module.Noisy(seconds=0.0), trials=300, seed=0)
    assert result.best.architecture == (2,) * 6
