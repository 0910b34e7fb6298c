# Everything is done in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run test check slow faults soak lint types walls browser clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,rl]"
	touch .venv/ready

run: setup
	$(BIN)/archsearch run

test: setup
	$(BIN)/python -m pytest

check: setup lint types walls
	$(BIN)/python -m pytest --cov --cov-report=term

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	PYTHON=$(BIN)/python scripts/typecheck

walls: types
	cd .types && ../$(BIN)/lint-imports --no-cache ../pyproject.toml

slow: setup
	$(BIN)/python -m pytest -m slow

# Causes every kind of fault and prints what came of it as a table, then damages run folders 1,000 times. About twenty
# minutes on two cores; the full disks need the right to mount a file system.
faults: setup
	$(BIN)/python -m pytest -n 0 -m "slow or not slow" --fault-table tests/test_fault_matrix.py
	$(BIN)/python scripts/damage.py

# 2 x 100,000 trials on Ray, one in a hundred goes wrong: nothing lost, all counted, memory flat.
soak: setup
	$(BIN)/python benchmarks/soak.py

# For the test that opens the page of a comparison; without a browser it is skipped. On Debian and its kin, as root.
browser:
	command -v chromium >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }

clean:
	rm -rf build dist *.egg-info .types .coverage .pytest_cache .mypy_cache .ruff_cache
