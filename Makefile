# Everything a newcomer needs: `make demo` shows the engine at work, `make test` proves it. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
# Else each start of `ids`, of which the suite makes hundreds, compiles its modules anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
DEMO_PCAP ?= pcaps/log4shell.pcap
# A process more than CI has cores: tests of the lab wait for the network as long as they compute. A file goes to one
# process, so that what its tests share is made once; tests/order.py has the order of the files.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test lint format docs wheel deb packages man bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (packages, virtual environment, bpffs); at once when nothing is
	@scripts/setup.sh

demo: setup ## attack a server in network namespaces and watch the gateway block it; replay a capture where that cannot be
	@if why=$$($(BIN)/ids doctor --lab); then \
		$(BIN)/ids lab; \
	else \
		printf '%s\n\nThe lab cannot run here, so here is a replay of %s instead.\n\n' "$$why" '$(DEMO_PCAP)'; \
		$(BIN)/ids replay '$(DEMO_PCAP)'; \
	fi

test: setup ## lint, types, import order, then the test suite
	@scripts/test-setup.sh
	@$(MAKE) lint
	@echo '== tests'
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup ## ruff, mypy and the import order of the stages
	@echo '== ruff check' && $(BIN)/ruff check .
	@echo '== ruff format' && $(BIN)/ruff format --check .
	@echo '== mypy' && $(BIN)/mypy
	@echo '== import order' && $(BIN)/lint-imports --no-cache

format: setup ## put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## write the parts of docs/ that the code already says
	@$(BIN)/python scripts/docs.py

wheel: setup ## build a wheel into build/dist
	@mkdir -p build/dist && rm -rf build/lib build/bdist.*
	@$(BIN)/pip wheel -q --no-deps --no-build-isolation -w build/dist . && ls build/dist

deb: setup ## build a Debian package into build/deb (DEB_PYTHON=3.13 for Debian 13)
	@scripts/deb.sh

packages: setup ## install, start and upgrade the package in clean Debian roots: slow, needs root and a mirror
	@$(BIN)/python -m tests.packages

man: setup ## write man pages into build/man
	@$(BIN)/python scripts/man.py build/man

bench: setup ## measure, beside Suricata and other peers; figures also go to build/bench.json
	@mkdir -p build
	@scripts/bench-setup.sh
	@$(BIN)/python -m tests.bench

clean: ## remove what set-up and the tools left in this folder (no system package)
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
