# Every target does its own set-up: a fresh machine needs Python 3.11+, make and a package index.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
# The first interpreter that runs and is new enough (a pyenv shim may exist without its version).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
OUT ?= demo_out

.PHONY: install dev demo test test-slow check bench bench-ci results plugins clean help

help:
	@echo "make install | demo | test | test-slow | check | bench | bench-ci | results | plugins | clean"

$(VENV)/.base: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one or pass PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON) (torch with CUDA is about 5 GB: one to three minutes)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: python -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) pip setuptools wheel hatchling editables
	@$(PIP) torch torchvision numpy
	@# sam2 is a source package that imports torch while it builds: isolated, pip would fetch torch a second time
	@$(PIP) --no-build-isolation sam2
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@$(PIP) --no-build-isolation -e ".[dev]"
	@touch $@

install: $(VENV)/.base

dev: $(VENV)/.dev

demo: install
	@$(BIN)/gest-stream demo --out $(OUT)

test: dev
	@$(BIN)/python -m pytest -m "not slow"

# what takes minutes on a CPU
test-slow: dev
	@$(BIN)/python -m pytest -m slow

check: dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: dev
	@$(BIN)/python -m benchmarks

# fails where ours has become slow beside what it is compared with in the same run
bench-ci: dev
	@$(BIN)/python -m benchmarks.ci

# benchmarks/RESULTS.md from the JSONs in benchmarks/results
results: dev
	@$(BIN)/python -m benchmarks.results_page

# the OBS and frei0r plugins, each where its headers are here (plugins/README.md)
plugins:
	@cmake -S plugins -B build/plugins
	@cmake --build build/plugins

clean:
	rm -rf $(VENV) $(OUT) build/plugins .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
