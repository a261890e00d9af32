.PHONY: help train test test-extras check format

VENV := .venv
STAMP := $(VENV)/.installed
PYTHON ?= python3

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

# .venv is made when it is missing, and again when pyproject.toml changed. -qq hides warnings of pip, and not its errors.
$(STAMP): pyproject.toml
	@echo "setting up $(VENV): two to three minutes, once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dlzoo needs Python 3.11 or later: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

train: $(STAMP) ## set up, then train: make train ARGS="model=densenet121 norm=gn"
	@$(VENV)/bin/python train.py $(ARGS)

test: $(STAMP) ## set up, then run the tests
	@OMP_NUM_THREADS=1 $(VENV)/bin/pytest --numprocesses auto --dist worksteal $(ARGS)

# Optional packages, in an environment of their own that finds the others in .venv.
EXTRAS := .venv-extras
EXTRAS_STAMP := $(EXTRAS)/.installed
$(EXTRAS_STAMP): $(STAMP)
	@echo "setting up $(EXTRAS): half a minute, once"
	@$(VENV)/bin/python -m venv --clear $(EXTRAS)
	@$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$($(EXTRAS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of_venv.pth
	@$(EXTRAS)/bin/pip install -qq --disable-pip-version-check --editable '.[mlflow,wandb]'
	@touch $(EXTRAS_STAMP)

test-extras: $(EXTRAS_STAMP) ## set up, then run the tests of the loggers mlflow and wandb
	@OMP_NUM_THREADS=1 $(EXTRAS)/bin/python -m pytest --numprocesses auto -m extras tests/engine/test_trackers.py $(ARGS)

check: $(STAMP) ## formatting, lint, types and import layers
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports

format: $(STAMP) ## format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .
