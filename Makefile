.PHONY: help train test check format

VENV := .venv
STAMP := $(VENV)/.installed
PYTHON ?= python3

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

# .venv is made when it is missing and made again when pyproject.toml changed.
$(STAMP): pyproject.toml
	@echo "setting up $(VENV): two to three minutes, once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dlzoo needs Python 3.11 or later: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

train: $(STAMP) ## set up, then train: make train ARGS="model=densenet121 norm=gn"
	@$(VENV)/bin/python train.py $(ARGS)

test: $(STAMP) ## set up, then run the tests
	@OMP_NUM_THREADS=1 $(VENV)/bin/pytest --numprocesses auto --dist worksteal $(ARGS)

check: $(STAMP) ## formatting, lint, types and the floors of the house
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports

format: $(STAMP) ## put the code into shape
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .
