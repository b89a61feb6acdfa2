# Every target works as root and as a user with sudo. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run test soak check bench bench-storage lock clean distclean
export VENV ?= .venv

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make .venv/ ready and install what this system lacks
	@scripts/setup

setup-tests:
	@scripts/setup --tests

run: setup ## start the daemon and do its main job before your eyes
	@$(VENV)/bin/python scripts/demo.py $(ARGS)

test: setup-tests ## all the tests: ./check, then those that boot guests or are slow
	@scripts/test

soak: setup-tests ## the same with many more rounds of the randomised tests (hours)
	@QUBEWARD_ROUNDS=$${QUBEWARD_ROUNDS:-200} scripts/test $(ARGS)

check: setup-tests ## linters, types, import contracts and the fast tests (under 90 s)
	@./check

bench: setup ## measure the speed promises
	@$(VENV)/bin/python -m bench $(ARGS)

bench-storage: setup ## measure the speed promises of storage (as root: file-reflink too)
	@$(VENV)/bin/python -m bench.storage $(ARGS)

lock: setup ## renew requirements/*.txt from pyproject.toml (needs pip-compile)
	@scripts/lock

clean: ## remove what tests and tools left behind
	rm -rf build dist .cache .run .coverage .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv/
	rm -rf .venv src/*.egg-info
