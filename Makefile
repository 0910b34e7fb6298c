# Everything is done in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run test check quick coverage slow faults soak lint types walls minimums pythons rooms browser clean

setup: .venv/ready

# One that was interrupted is taken up again: what is installed stays, a broken environment is made anew.
.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "setup: no program is called $(PYTHON); $$NAME_ANOTHER"; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON" "$(PYTHON)"
	@echo "setup 1/3: an environment in .venv, with $$($(PYTHON) --version 2>&1)"
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --upgrade pip
	@echo "setup 2/3: PyTorch, the largest part; a few minutes where it is not downloaded yet"
	$(BIN)/python -m pip install -c constraints.txt torch
	@echo "setup 3/3: archsearch, what it needs, and what its tests need"
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev,rl]"
	@touch .venv/ready
	@echo "setup: done; '. .venv/bin/activate' makes 'archsearch' a command of this terminal"

export NAME_ANOTHER = name a Python of version 3.11, 3.12 or 3.13: make setup PYTHON=python3.12

# In words that older versions understand, too.
define CHECK_PYTHON
import os, sys
if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit("setup: %s is of version %d.%d; %s" % ((sys.argv[1],) + sys.version_info[:2] + (os.environ["NAME_ANOTHER"],)))
endef
export CHECK_PYTHON

run: setup
	@echo "run: the main job, 1,000 trials on NAS-Bench-201, a few seconds"
	$(BIN)/archsearch run

test: setup
	@echo "test: about half an hour on two cores"
	$(BIN)/python -m pytest

# While editing: under three minutes for a class or two. What was changed since this branch left main says which contract
# suites are due; BASE=HEAD takes what is not committed alone.
quick: lint types
	$(BIN)/python scripts/quick $(if $(BASE),--base $(BASE))

# Before a commit: the same, and the walls.
check: lint types walls quick

coverage: setup
	@echo "coverage: all tests, about forty minutes on two cores"
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

# Causes every kind of fault and prints what came of it as a table, then damages run folders of six kinds, each 1,000
# times. About three quarters of an hour on two cores; the full disks need the right to mount a file system.
faults: setup
	$(BIN)/python -m pytest -n 0 -m "slow or not slow" --fault-table tests/test_fault_matrix_*.py tests/test_misbehaviour.py
	$(BIN)/python scripts/damage.py

# 2 x 100,000 trials on Ray, one in a hundred goes wrong: nothing lost, all counted, memory flat.
soak: setup
	$(BIN)/python benchmarks/soak.py

# The smoke part of the suite with the lowest versions that pyproject.toml allows, in .smoke/minimums. TORCH=2.13.0 takes
# that PyTorch instead of the lowest, TORCH=none does without. Five minutes, most of them pip's; needs no .venv.
minimums:
	$(PYTHON) scripts/smoke --minimums $(if $(TORCH),--torch $(TORCH))

# The same part on other versions of Python, with the versions of constraints.txt: on each that is there.
PYTHONS ?= python3.12 python3.13
pythons:
	$(PYTHON) scripts/smoke --pythons $(PYTHONS) $(if $(TORCH),--torch $(TORCH))

# How many files and lines each folder has, and what is longer than it should be.
rooms:
	@$(PYTHON) scripts/rooms

# For the test that opens the page of a comparison; without a browser it is skipped. On Debian and its kin, as root.
browser:
	command -v chromium >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }

clean:
	rm -rf .smoke build dist *.egg-info .types .coverage .pytest_cache .mypy_cache .ruff_cache
