# mono-repo: `make sandbox` stands the dev environment up here, `make test` runs every test.
# Needs Python 3.11 or later and make; everything else goes into .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# The first interpreter that is new enough, unless PYTHON names one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
ENV ?= dev

VENV := .venv
BIN := $(VENV)/bin
OPS := $(BIN)/ops
# The oldest SDK that pyproject.toml allows, for the conformance suite.
OLDEST := .venv-oldest-sdk
OLDEST_SDK := 3.231.0
WORKERS ?= 2
# A file's tests share what they have made, and some go on where the one before has ended.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: sandbox
sandbox: $(VENV)/.sandbox ## Stand up the dev environment (ENV=dev) in the sandbox and show what it made
	$(OPS) sandbox start $(ENV)

.PHONY: test
test: $(VENV)/.dev $(OLDEST)/.installed ## Run all tests
	.ci/kube/build --if-go
	$(PYTEST) -m "not conformance and not faults and not sandbox"
	$(PYTEST) -m "conformance or faults or sandbox"
	$(PYTEST) tests/conformance --program-python $(OLDEST)/bin/python

.PHONY: kube
kube: ## Build kube-apiserver and etcd for the sandbox's clusters (needs Go; minutes, once)
	.ci/kube/build

.PHONY: unit
unit: $(VENV)/.dev ## Run the tests that need no server
	$(PYTEST) -m "not conformance and not faults and not sandbox"

.PHONY: lint
lint: $(VENV)/.dev ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## Put the code into its standard form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: golden
golden: $(VENV)/.dev ## Write the golden graphs and generated pages anew, to be reviewed as a diff
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/components tests/stacks tests/infra tests/ops -k "golden or page"

.PHONY: bench
bench: $(VENV)/.dev ## Measure start-up, previews and synthetic stacks
	$(BIN)/python -m tests.bench

# The lock files name no address: pip takes them from wherever it is configured to.
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate pyproject.toml
.PHONY: lock
lock: $(VENV)/.dev ## Bring the locked requirements up to date with pyproject.toml
	$(BIN)/python -m pip install -q uv
	$(LOCK) --extra deploy --extra sandbox --extra dev -o requirements-dev.txt
	$(LOCK) --extra deploy --extra sandbox -c requirements-dev.txt -o requirements-sandbox.txt
	$(LOCK) --extra deploy -c requirements-dev.txt -o requirements.txt

.PHONY: clean
clean: ## Stop the sandbox and remove everything that make made
	@if $(BIN)/python -c 'import ops.__main__, ops.commands, ops.sandbox' 2>/dev/null; then \
		$(BIN)/python -m ops sandbox reset --yes; fi # a refusal ends it here
	rm -rf $(VENV) $(OLDEST) .sandbox .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: python
python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "error: no Python 3.11 or later was found (python3 is: $$(python3 --version 2>&1 || echo none))." >&2; \
		echo "       Nothing was installed. Install Python 3.11+, or name one: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 2; \
	elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "error: '$(PYTHON)' is not Python 3.11 or later ($$($(PYTHON) --version 2>&1 || echo 'it does not run'))." >&2; \
		echo "       Nothing was installed. Name another: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 2; \
	elif ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "error: $(PYTHON) has no venv module, so no virtual environment could be made." >&2; \
		echo "       Nothing was installed. On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 2; \
	fi

# $(call install,REQUIREMENTS): hashed requirements first, then this project itself, editable.
define install
	@[ -x $(BIN)/python ] || { echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing $(1) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q infra stacks components ops
endef

$(VENV)/.sandbox: requirements-sandbox.txt pyproject.toml | python
	$(call install,requirements-sandbox.txt)
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | python
	$(call install,requirements-dev.txt)
	@touch $(VENV)/.sandbox $@

# Only the SDK differs: the rest is the main environment's, found behind it.
$(OLDEST)/.installed: $(VENV)/.dev
	@echo "Installing Pulumi SDK $(OLDEST_SDK) into $(OLDEST)"
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps pulumi==$(OLDEST_SDK)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(OLDEST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main.pth"
	@touch $@
