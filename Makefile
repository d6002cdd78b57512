# make study DATA=pbc PROFILE=quick SEED=0 SEEDS=3 OUT=folder CORES=2; BLOODCELL_DATA names the folder of the images.
PYTHON ?= python3
DATA ?= synthetic
PROFILE ?= quick
SEED ?= 0
SEEDS ?= 1
OUT ?=
CORES ?= 0

# A misspelt setting would be ignored without a word.
SETTINGS := PYTHON DATA PROFILE SEED SEEDS OUT CORES BLOODCELL_DATA BLOODCELL_WEIGHTS BLOODCELL_HOME
UNKNOWN := $(filter-out $(SETTINGS),$(foreach setting,$(MAKEOVERRIDES),$(firstword $(subst =, ,$(setting)))))
ifneq ($(UNKNOWN),)
$(error there is no setting $(UNKNOWN): choose among $(SETTINGS))
endif

BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Kernels leave what TensorFlow's libraries write past Python to the terminal: in a notebook it would stand in a red box.
export IPYTHONDIR := $(CURDIR)/.venv/ipython
ifneq ($(BLOODCELL_DATA),)
export BLOODCELL_DATA := $(abspath $(BLOODCELL_DATA))
endif
ifneq ($(BLOODCELL_WEIGHTS),)
export BLOODCELL_WEIGHTS := $(abspath $(BLOODCELL_WEIGHTS))
endif

.PHONY: help study papers results web docs lint test lab bench notebooks lock clean

help:
	@echo "make study      run the study (DATA=synthetic PROFILE=quick SEED=0 SEEDS=1 OUT= CORES=0)"
	@echo "make papers     run the papers' own networks on their own data, and nothing else (DATA= PROFILE=full SEEDS=1)"
	@echo "make results    compute every table and figure of README.md and results/ from the stored predictions"
	@echo "make lint       check style, format and types of the code"
	@echo "make test       check the code and run the tests"
	@echo "make web        build the page that classifies cells in a browser, in _web/"
	@echo "make docs       build the site from the notebooks, in _docs/"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make bench      measure the ratios behind the design"
	@echo "make notebooks  run the chapters on the synthetic set and store their outputs"
	@echo "make lock       renew requirements.lock"
	@echo "make clean      remove what was made: .venv, runs, cache"

study: .venv/installed
	@$(BIN)/bloodcell study --data "$(DATA)" --profile "$(PROFILE)" --seed "$(SEED)" --seeds "$(SEEDS)" --out "$(OUT)" --cores "$(CORES)"

# Other defaults than those of `make study`: each paper's own data and size.
papers: DATA := $(if $(filter command line environment,$(origin DATA)),$(DATA))
papers: PROFILE := $(if $(filter command line environment,$(origin PROFILE)),$(PROFILE),full)
papers: .venv/installed
	@$(BIN)/bloodcell papers --data "$(DATA)" --profile "$(PROFILE)" --seed "$(SEED)" --seeds "$(SEEDS)" --out "$(OUT)" --cores "$(CORES)"

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check nbs tests workflow
	$(BIN)/mypy

# The study's chapters, the overview and the appendices are left to pytest, which runs them all.
test: lint
	$(BIN)/nbdev_test --n_workers 2 --timing --skip_folder_re '^study$$' --skip_file_re '^([_.]|findings|appendix)'
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lab: .venv/installed
	$(BIN)/jupyter lab --notebook-dir nbs

bench: .venv/installed
	$(BIN)/python workflow/bench.py

# The page that classifies cells in a browser, as static files in _web/. Needs npm, once.
web: .venv/installed
	@$(BIN)/bloodcell export --to web --out _web

# The site, from the notebooks as they are stored; a broken link fails.
docs: .venv/installed
	@$(BIN)/python workflow/build_site.py

# Everything that README.md says of real cells, from the stored predictions: tables, figures, claims, results/report.html, and the boxes in the study.
results: .venv/installed
	$(BIN)/python workflow/refresh.py results
	$(BIN)/nbdev_clean

# Run the chapters with the parameters that they show, store their outputs in nbs/ and make README.md from the index.
notebooks: .venv/installed
	$(BIN)/nbdev_export
	$(BIN)/python workflow/refresh.py
	$(BIN)/nbdev_clean

# Renew requirements.lock from the ranges in pyproject.toml, with the hash of every file: pip then refuses any other file.
lock:
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-annotate --no-header pyproject.toml -o requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@echo "setting up .venv: this takes a few minutes, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .venv/ipython/profile_default
	@echo "c.IPKernelApp.capture_fd_output = False" > .venv/ipython/profile_default/ipython_kernel_config.py
	@touch $@

clean:
	rm -rf .venv runs cache _web _docs build dist *.egg-info
