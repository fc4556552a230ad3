# Every target prepares what it needs; a second call is quick.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
SOURCES := functions shared infra tests benchmarks
INSTALLED := .venv/.installed
BASE ?= HEAD

.PHONY: help setup demo up test unit contract component conformance system proof lint fmt \
        types bench bundle requirements clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements-dev.txt
	@test -x $(PYTHON) || python3 -m venv .venv
	@echo "installing what requirements-dev.txt pins"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(INSTALLED) ## the environment in .venv/

demo: setup ## the whole thing: a local cloud, two tenants, their bills
	@$(PYTHON) -m infra.local.demo

up: setup ## the local cloud and the functions, until Ctrl-C
	@$(PYTHON) -m infra.local up

test: setup ## every test, nothing skipped
	@$(PYTHON) -m pytest -n 2 --dist loadgroup -q tests

unit contract component conformance system: setup ## one kind of test
	@$(PYTHON) -m pytest -n 2 --dist loadgroup -q tests/$@

proof: setup ## the long proofs: kills and races by the hundred
	@$(PYTHON) -m pytest -q tests/proof

lint: setup ## format, lint, types, the direction of imports, templates
	@.venv/bin/ruff format --quiet --check $(SOURCES)
	@.venv/bin/ruff check --quiet $(SOURCES)
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo | tail -4
	@$(PYTHON) -m shared.templates validate

fmt: setup ## write the format
	@.venv/bin/ruff check --quiet --fix $(SOURCES)
	@.venv/bin/ruff format --quiet $(SOURCES)

bench: setup ## speed as ratios against a reference of the same run
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; PYTHONPATH=. $(PYTHON) $$file || exit 1; done

bundle: setup ## the deployable archives, in dist/
	@$(PYTHON) -m infra.bundle --out dist

requirements: setup ## compile requirements*.txt from the .in files
	@.venv/bin/pip-compile $(COMPILE) -o requirements.txt requirements.in
	@.venv/bin/pip-compile $(COMPILE) -o requirements-dev.txt requirements-dev.in
COMPILE := --quiet --generate-hashes --strip-extras --allow-unsafe \
           --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean: ## everything that can be made again
	@rm -rf .venv .local dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
