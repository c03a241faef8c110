# Targets set up what they need; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXP ?= hourglass_mpii
ARGS ?=
DATA ?= auto

# OpenMP's threads spin while they wait: on a busy machine they take the core that they wait for. So many turns do.
export GOMP_SPINCOUNT ?= 20000

# A worker for each core; the tests of a file share what they have trained, so they stay together.
PARALLEL := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup fit sweep evaluate report test test-all fuzz lint bench clean

help: ## Show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/ready ## Make the virtual environment and install the package in it

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster,coco,convert,dev,export]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps sweeps  # for its schema; it pins an old numpy
	@touch $@

fit: setup ## Train, evaluate, print the table: make fit EXP=hourglass_mpii [DATA=real] [FOLD=2] [ARGS="--model.lr=1.0e-3"]
	@$(BIN)/python -m pose_lightning.demo fit $(EXP) --data $(DATA) $(if $(FOLD),--fold $(FOLD)) -- $(ARGS)

sweep: setup ## Run a sweep and compare its cells: make sweep EXP=hourglass_optim [DATA=real] [DEVICES=4] [ARGS="--slots 2 --dry-run"]
	@$(BIN)/python -m pose_lightning.sweep sweeps/$(EXP).yaml --data $(DATA) $(if $(DEVICES),--devices-per-trial $(DEVICES)) $(ARGS)

evaluate: setup ## Score a run: make evaluate RUN=runs/hourglass_mpii/ID [ARGS="--flip-test --overlays 8"]
	@test -n "$(RUN)" || { echo "say which: make evaluate RUN=runs/EXPERIMENT/ID"; exit 2; }
	@$(BIN)/python -m pose_lightning.evaluate $(RUN) $(ARGS)

report: setup ## The newest runs or sweep of an experiment as one HTML page: make report EXP=hourglass_optim [ARGS="--open"]
	@$(BIN)/python -m pose_lightning.report --experiment $(EXP) $(ARGS)

test: setup lint ## Lint, types and every test that is not slow
	@$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow and not gpu" $(ARGS)

test-all: setup lint ## Every test
	@$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)

fuzz: setup ## A thousand damaged files of every format, two writers at once, full disks; with tables
	@$(BIN)/python -m pytest -q -rP -m slow -n auto tests/fuzz tests/test_two_at_once.py tests/test_full_disk.py $(ARGS)

lint: setup ## ruff (lint and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## Measure the store, the loader, the sample path and a training step, as ratios
	@for script in tests/bench/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean: ## Remove caches and build leftovers (not runs, data or the virtual environment)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache build dist
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
