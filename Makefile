# Everything here needs only Python >= 3.11 and make. Each target is described by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# -qq: pip's warnings about a machine's own configuration are nobody's business here; errors still show.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST_ARGS ?=
# Tests beside each other, a worker a core; those of whole servers stay with one of them.
BESIDE ?= -n auto --maxprocesses 4 --dist loadgroup
FRESH_ARGS ?=
SEEDS ?= 100000
EXAMPLES ?= 300
PHASES ?= examples,coverage,fuzzing,stateful
WEB_SOURCES := $(if $(wildcard web/package.json),$(shell find web -type f \
	-not -path '*/node_modules/*' -not -path 'web/dist/*' -not -name '.*' 2>/dev/null))
WEB := $(if $(wildcard web/package.json),web/dist/.built)

# A name on the PATH proves nothing (version managers leave shims that fail), so each candidate is run.
FIND_PYTHON = for p in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
	if "$$p" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo "$$p"; exit 0; fi; done; \
	echo "No Python >= 3.11 with venv was found. Install one, or say: make PYTHON=/path/to/python3" >&2; exit 1

# The system's node when it is new enough, otherwise the one from requirements-node.lock in the virtual environment.
NODE_IS_NEW = node -e 'const [a,b]=process.versions.node.split(".").map(Number); \
	process.exit(a>22||(a==22&&b>=12)||(a==20&&b>=19)?0:1)' >/dev/null 2>&1 && npm --version >/dev/null 2>&1
WITH_NODE = if ! { $(NODE_IS_NEW); }; then $(MAKE) -s $(VENV)/.stamp-node; export PATH="$(CURDIR)/$(BIN):$$PATH"; fi

UV_COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet

.PHONY: help run test test-long check fresh-test arrows fmt web web-check lock sim cluster-test chaos fuzz-api load screenshot clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.stamp-runtime $(WEB) ## set up if needed, then start everything with the demo city
	@exec $(BIN)/doorstep up --demo

test: $(VENV)/.stamp-dev $(VENV)/.stamp-roads $(WEB) ## run the tests, without the slow campaigns (PYTEST_ARGS="-k name" for some)
	@$(BIN)/pytest -m "not slow" $(BESIDE) $(PYTEST_ARGS)

test-long: $(VENV)/.stamp-dev $(VENV)/.stamp-roads ## the same with three times the examples of properties, and 300 simulated worlds
	@ALL_EXAMPLES=1 $(BIN)/pytest -m "not cluster" $(BESIDE) $(PYTEST_ARGS)

check: $(VENV)/.stamp-dev ## everything that CI checks: lint, format, types, import arrows, web, tests
	@echo "check: ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "check: mypy --strict"
	@$(BIN)/mypy --strict
	@$(MAKE) arrows
	@$(MAKE) web-check
	@$(MAKE) test

fresh-test: $(VENV)/.stamp-dev ## `make run` on bare Debians, as root and as a user (FRESH_ARGS="--suites trixie --as user" for one)
	@$(BIN)/python scripts/fresh_test.py $(FRESH_ARGS)

arrows: $(VENV)/.stamp-dev
	@echo "check: import arrows"
	@$(BIN)/pytest -q tests/unit/test_import_arrows.py

fmt: $(VENV)/.stamp-dev ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

web: $(WEB) ## build the browser apps into web/dist

web-check: $(if $(WEB),web/node_modules/.installed)
ifneq ($(WEB),)
	@echo "check: web types and unit tests"
	@$(WITH_NODE); cd web && npm run --silent check && npm test --silent
endif

lock: $(BIN)/python ## bring the lock files up to date with pyproject.toml
	@echo "lock: resolving"
	@$(PIP) install uv
	@$(UV_COMPILE) pyproject.toml --group build --group dev -o requirements-dev.lock
	@$(UV_COMPILE) pyproject.toml --group build --constraint requirements-dev.lock -o requirements.lock
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["node"])' \
		| $(UV_COMPILE) - -o requirements-node.lock
	@! grep -nE '://|^-' requirements*.lock || { echo "a lock file holds an address" >&2; exit 1; }
	@echo "lock: done; the next make installs it"

sim: $(VENV)/.stamp-runtime ## the long campaign of simulated worlds (SEEDS=100000); CI runs a short one with the tests
	@$(BIN)/doorstep sim --seeds $(SEEDS)

cluster-test: $(VENV)/.stamp-dev ## two Ray nodes, one of which dies; a rolling restart; a fleet that comes back at once
	@$(BIN)/pytest -q tests/integration/cluster/test_two_nodes.py tests/integration/cluster/test_rolling_restart.py \
		tests/integration/cluster/test_two_of_each.py \
		tests/integration/bench/test_live.py

chaos: $(VENV)/.stamp-dev ## kill and freeze each part of a server with a demo of 60 drivers; prints how long what was out (10 minutes)
	@$(BIN)/pytest -q -s tests/integration/cluster/test_faults.py

fuzz-api: $(VENV)/.stamp-dev ## requests made from OpenAPI, good and bad, against every operation (EXAMPLES=300); CI makes a few
	@FUZZ_EXAMPLES=$(EXAMPLES) FUZZ_PHASES=$(PHASES) $(BIN)/pytest -q -s tests/rest/test_fuzz.py

load: $(VENV)/.stamp-dev ## fleets of 1,000 to 15,000 drivers, then half an hour of 5,000 (about 50 minutes)
	@$(BIN)/doorstep bench live --sizes 1000,2500,5000,10000,15000 --out fleet
	@$(BIN)/doorstep bench soak --drivers 5000 --minutes 30 --out soak

screenshot: $(VENV)/.stamp-dev $(WEB) ## take the pictures used in the docs
	@$(BIN)/python scripts/screenshot.py

clean: ## remove what make made; the data in .doorstep stays
	@rm -rf $(VENV) web/dist web/node_modules web/*/*/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------- set-up

$(BIN)/python:
	@python="$$($(FIND_PYTHON))"; \
		echo "setup: virtual environment with $$("$$python" --version)"; "$$python" -m venv $(VENV)

# --no-compile: pip would compile one module after the other. It must be done here, since a server is a dozen processes
# and each would do it anew, for seconds, wherever PYTHONDONTWRITEBYTECODE is set, as it is in many an image.
COMPILE = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib $(patsubst %/__init__.py,%,$(wildcard */__init__.py)) || true

# The lock holds the build backend too: the project itself is then installed without looking anything up.
$(VENV)/.stamp-runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "setup: installing $$(grep -c '^[a-z].*==' $<) locked packages (a minute or two, once)"
	@$(PIP) install --no-compile --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(COMPILE)
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/python
	@echo "setup: installing $$(grep -c '^[a-z].*==' $<) locked packages (a minute or two, once)"
	@$(PIP) install --no-compile --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(COMPILE)
	@touch $(VENV)/.stamp-runtime $@

# The program that builds road tiles comes with the wheels for Python 3.12 and later; it runs beside any version.
$(VENV)/.stamp-roads: $(VENV)/.stamp-dev
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
		echo "setup: installing the builder of road tiles"; \
		sed -n '/^pyvalhalla==3.9/,/[^\\]$$/p' requirements-dev.lock | sed 's/ ;[^\\]*//' > $(VENV)/valhalla.lock; \
		$(PIP) install --no-compile --no-deps --only-binary=:all: --python-version 3.12 --upgrade \
			--target $(VENV)/valhalla-tools --require-hashes -r $(VENV)/valhalla.lock; fi
	@touch $@

$(VENV)/.stamp-node: requirements-node.lock | $(BIN)/python
	@echo "setup: no node >= 20.19 found, installing one into $(VENV)"
	@$(PIP) install --no-compile --require-hashes -r $<
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json $(wildcard web/*/*/package.json) | $(BIN)/python
	@echo "web: installing packages"
	@$(WITH_NODE); cd web && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

web/dist/.built: $(WEB_SOURCES) web/node_modules/.installed
	@echo "web: building"
	@$(WITH_NODE); cd web && npm run --silent build
	@touch $@
