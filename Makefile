# Two commands do everything on a fresh machine with Python >= 3.11 and make:
#   make drill   see an incident handled, from alert to proof, on this machine
#   make test    all tests
# The rest is for people who change quell. Every target sets up what it needs.

PYTHON := $(shell for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ROOMS = $(wildcard flows tasks runbooks examples tests)
QUICK = $(wildcard tests/house tests/domain tests/contracts tests/steps)

# A stamp is named by what it was made from, so a set-up is redone when, and only when, that changed.
LOCKED := .venv/locked-$(shell cksum < requirements.lock | cut -d ' ' -f 1)
READY := .venv/ready-$(shell cat requirements.lock pyproject.toml | cksum | cut -d ' ' -f 1)

.PHONY: drill test fast check lint format soak bench lock setup clean need

drill: setup
	$(BIN)/quell drill prompt_injection

test: need setup
	$(BIN)/pytest -n auto -m "not engine and not browser"
	$(BIN)/pytest -m "engine or browser"

fast: setup
	$(BIN)/pytest -n auto -m "not engine and not browser and not postgres and not slow" $(QUICK)

check: lint
	$(BIN)/mypy $(ROOMS)

lint: setup
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/ruff format --check $(ROOMS)

format: setup
	$(BIN)/ruff format $(or $(FILES),$(ROOMS))

soak: setup
	$(BIN)/python -m tests.soak

bench: setup
	$(BIN)/python -m tests.bench

# The newest versions that fit pyproject.toml, for every Python >= 3.11, on Linux and macOS. Read the difference before you commit it.
lock: setup
	env -u UV_FIND_LINKS $(BIN)/uv --no-config --quiet pip compile pyproject.toml --all-extras --upgrade --output-file requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

setup: $(READY)

$(READY): $(LOCKED)
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f .venv/ready-*
	@touch $@

$(LOCKED):
	@test -n "$(PYTHON)" || { echo "quell needs Python 3.11 or newer, and found none. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@PYTHON=$(PYTHON) .ci/need venv
	@echo "setting up .venv from requirements.lock (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --no-deps --requirement requirements.lock
	@rm -f .venv/locked-* .venv/ready-*
	@touch $@

need:
	@.ci/need chromium postgresql ssh-keygen openssl

clean:
	rm -rf .venv .quell .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
