# make study DATA=pbc PROFILE=quick SEED=0 OUT=folder CORES=2; BLOODCELL_DATA names the folder of the images.
PYTHON ?= python3
DATA ?= synthetic
PROFILE ?= quick
SEED ?= 0
OUT ?=
CORES ?= 0

BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2
ifneq ($(BLOODCELL_DATA),)
export BLOODCELL_DATA := $(abspath $(BLOODCELL_DATA))
endif
ifneq ($(BLOODCELL_WEIGHTS),)
export BLOODCELL_WEIGHTS := $(abspath $(BLOODCELL_WEIGHTS))
endif

.PHONY: study test lab bench notebooks lock clean

study: .venv/installed
	@$(BIN)/bloodcell study --data "$(DATA)" --profile "$(PROFILE)" --seed "$(SEED)" --out "$(OUT)" --cores "$(CORES)"

# The study's chapters are left to pytest, which runs them all by papermill.
test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/nbdev_test --n_workers 2 --timing --skip_folder_re '^study$$'
	$(BIN)/python -m pytest

lab: .venv/installed
	$(BIN)/jupyter lab --notebook-dir nbs

bench: .venv/installed
	$(BIN)/python workflow/bench.py

# Run the chapters on the synthetic set, store their outputs in nbs/ and make README.md from the index.
notebooks: .venv/installed
	$(BIN)/nbdev_export
	rm -rf runs/synthetic-quick-s0
	$(MAKE) study DATA=synthetic PROFILE=quick SEED=0 OUT=
	$(BIN)/python workflow/refresh.py
	$(BIN)/nbdev_clean

# Renew requirements.lock from the ranges in pyproject.toml.
lock:
	uv pip compile --universal --python-version 3.11 --extra dev --no-annotate --no-header pyproject.toml -o requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@echo "setting up .venv: this takes a few minutes, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv runs cache build dist *.egg-info
