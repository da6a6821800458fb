# graphws: `make demo` shows what it does, `make test` proves it.
#
#   make demo        fit a zoo of networks to the digits, train on their weights, report    (5 minutes on 2 cores)
#   make test        all tests, quick and slow
#   make test-quick  the tests that take seconds
#   make lint        ruff, mypy, import-linter
#   make wheel       build dist/*.whl
#   make clean       remove the virtual environment and build outputs (keeps runs/)
#
# Everything is installed into $(VENV); a stamp file there makes the second run instant.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2

BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip -qq --disable-pip-version-check
DEPS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick lint format wheel clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.stamp-demo
	@echo "==> graphws run specs/digits-inr.yaml"
	@$(BIN)/graphws run specs/digits-inr.yaml

test: $(VENV)/.stamp-test
	@echo "==> pytest: all tests, quick and slow, on $(JOBS) processes"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

test-quick: $(VENV)/.stamp-test
	@echo "==> pytest: quick tests, on $(JOBS) processes"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q -m "not slow"

lint: $(VENV)/.stamp-dev
	@status=0; \
	echo "==> ruff check"; $(BIN)/ruff check . || status=1; \
	echo "==> ruff format --check"; $(BIN)/ruff format --check . || status=1; \
	echo "==> mypy"; $(BIN)/mypy || status=1; \
	echo "==> import-linter"; $(BIN)/lint-imports --no-logo 2>/dev/null || status=1; \
	exit $$status

format: $(VENV)/.stamp-dev
	@echo "==> ruff check --fix, ruff format"
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

wheel: $(VENV)/.stamp-dev
	@echo "==> python -m build --wheel (into dist/)"
	@$(BIN)/python -m build --wheel --no-isolation

clean:
	@echo "==> removing $(VENV), dist and caches"
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "graphws needs Python 3.10 or newer; name one with: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "==> creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-torch: constraints.txt | $(BIN)/python
	@echo "==> installing $$(grep '^torch==' constraints.txt)"
	@$(PIP) install "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.stamp-demo: $(DEPS) $(VENV)/.stamp-torch
	@echo "==> installing graphws (editable)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.stamp-test: $(DEPS) $(VENV)/.stamp-torch
	@echo "==> installing graphws (editable) with its test tools"
	@$(PIP) install -c constraints.txt -e ".[test]"
	@touch $@ $(VENV)/.stamp-demo

$(VENV)/.stamp-dev: $(DEPS) $(VENV)/.stamp-torch
	@echo "==> installing graphws (editable) with its test and development tools"
	@$(PIP) install -c constraints.txt -e ".[test,dev]"
	@touch $@ $(VENV)/.stamp-demo $(VENV)/.stamp-test
