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

# Two locks: requirements.lock is what quell and a drill need; requirements-dev.lock is all of that and what tests need.
# A stamp is named by the digest of what it was made from, so a set-up is redone when, and only when, that changed.
digest = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
RUN := .venv/run-$(call digest,requirements.lock pyproject.toml)
DEV := .venv/dev-$(call digest,requirements-dev.lock pyproject.toml)

.PHONY: drill test attacks fast check lint format soak bench lock setup clean need

drill: $(RUN)
	$(BIN)/quell drill prompt_injection

# First all that needs no server of Prefect's, on all cores; then the rest, in two lanes. An empty second part is a failure too.
test: need setup
	$(BIN)/pytest -n auto -m "not engine and not browser"
	$(BIN)/pytest -n 2 --dist loadscope -m "engine or browser"

attacks: need setup
	$(BIN)/pytest tests/attacks

fast: setup
	$(BIN)/pytest -n auto -m "not engine and not browser and not postgres and not s3 and not slow" $(QUICK)

check: lint
	$(BIN)/mypy $(ROOMS)

lint: setup
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/ruff format --check $(ROOMS)

format: setup
	$(BIN)/ruff format $(or $(FILES),$(ROOMS))

soak: setup
	$(BIN)/python -m tests.soak

# How well words of people are classified is measured on real reports (tests/data/aiid), or on those of QUELL_AIID_CSV=FILE.
bench: setup
	@.ci/need ssh-keygen wrk radosgw ceph-mon ceph-osd
	$(BIN)/python -m tests.bench

# The newest versions that fit pyproject.toml, for every Python >= 3.11, on Linux and macOS. Read the difference before you commit it.
COMPILE = env -u UV_FIND_LINKS $(BIN)/uv --no-config --quiet pip compile pyproject.toml --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: setup
	$(COMPILE) --extra practice --extra fast --extra build --output-file requirements.lock
	echo cachetools | $(COMPILE) --all-extras --override - --constraint requirements.lock --output-file requirements-dev.lock

setup: $(DEV)

# What is there for developing is enough for a drill.
$(RUN):
	@$(MAKE) --no-print-directory install LOCK=requirements.lock
	@touch $@
$(DEV):
	@$(MAKE) --no-print-directory install LOCK=requirements-dev.lock
	@rm -f .venv/run-* .venv/dev-*
	@touch $@ $(RUN)

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo "quell needs Python 3.11 or newer, and found none. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python -a -x $(BIN)/pip || { rm -rf .venv && PYTHON=$(PYTHON) .ci/need venv && $(PYTHON) -m venv .venv; }
	@echo "setting up .venv from $(LOCK) (about a minute, once)"
	$(PIP) install --require-hashes --no-deps --no-compile --requirement $(LOCK)
	$(PIP) install --no-deps --no-build-isolation --editable .

need:
	@.ci/need chromium postgresql ssh-keygen openssl radosgw ceph-mon ceph-osd

clean:
	rm -rf .venv .quell .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
