"""What archsearch relies on in Ray's own insides, held against the Ray that is installed: here a change is noticed."""

import ast
import os
import re
from pathlib import Path

import pytest

from archsearch.executors.ray import private as ray_private

ROOT = Path(__file__).parent.parent


def test_one_module_touches_what_ray_keeps_private():
    touching = set()
    for folder in ("archsearch", "controllers", "evaluators", "spaces"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names = [node.value]
                if any(re.match(r"ray\._", name) for name in names):
                    touching.add(path.relative_to(ROOT).as_posix())
    assert touching == {"archsearch/executors/ray/private.py"}


def test_the_address_of_the_newest_cluster_is_where_ray_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert ray_private.current_address() is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert ray_private.current_address() == "10.0.0.1:6379"


def test_ray_connects_by_itself_unless_told_otherwise():
    from ray._private import auto_init_hook

    assert ray_private.connects_by_itself(False) is True
    try:
        assert auto_init_hook.enable_auto_connect is False
        import ray

        assert not ray.is_initialized()
        with pytest.raises(Exception, match="Ray has not been started"):
            ray.put(1)
        assert not ray.is_initialized(), "it began a cluster"
    finally:
        assert ray_private.connects_by_itself(True) is False


def test_on_loopback_ray_takes_the_address_of_this_machine_alone(monkeypatch):
    from ray._private import services

    monkeypatch.delenv(ray_private.LOOPBACK, raising=False)
    before = services.get_node_ip_address()
    with ray_private.on_loopback():
        assert services.get_node_ip_address() == "127.0.0.1"
        assert os.environ[ray_private.LOOPBACK] == "0"
    assert services.get_node_ip_address() == before
    assert ray_private.LOOPBACK not in os.environ


def test_what_ray_says_and_reads_when_it_starts_slowly():
    import ray

    text = (Path(ray.__file__).parent / "_private" / "node.py").read_text()
    assert ray_private.SLOW_START in text
    assert ray_private.START_WAIT in text


def test_a_ray_that_knows_no_tokens_is_done_without(monkeypatch):
    monkeypatch.setattr(ray_private, "_raylet", lambda name: None)
    assert not ray_private.knows_tokens()
    ray_private.forget_token()
    ray_private.use_token()
