# One door: `make help`. Needs python3 (3.11 or newer), make and a package index; makes the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The tests start hundreds of daemons; without its bytecode each would compile all of agentd.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help run demo test test-unit test-real test-guest check format bench sim docs clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GUEST := .lab/guest
GUEST_APT := redis-server
# What pyproject.toml says a daemon needs; the guest has no network to fetch it.
GUEST_PIP = $(shell $(BIN)/python -c 'import tomllib; \
    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"])')
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
WORKERS ?= 2
# An init of our own, for pid 1 may be slow to reap what the tests orphan, or never do.
PYTEST := $(BIN)/python tests/init.py $(BIN)/python -m pytest
# Tests of real processes judge by time: one at a time.
REAL := tests/daemon tests/faults tests/programs

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## a daemon in the foreground with the demo fleet, in a scratch directory
	@exec $(BIN)/agentd demo

demo: run ## the same as run

# Quick ones first; the last line of all is pytest's summary.
test: check ## all tests; `make test k=health` those whose name holds a word
ifdef k
	$(PYTEST) -k '$(k)'
else
	$(MAKE) --no-print-directory test-unit
	$(MAKE) --no-print-directory test-guest
	$(MAKE) --no-print-directory test-real
endif

test-unit: $(READY) ## the quick ones: no processes but those of a command line
	$(PYTEST) -n $(WORKERS) $(addprefix --ignore=,$(REAL))

test-real: $(READY) ## real daemons, real agents; they judge time by a control loop beside them
	$(PYTEST) -n $(WORKERS) --dist loadscope $(REAL)

test-guest: $(READY) ## under a real systemd, in a virtual machine (made if needed, kept in .lab)
	@missing=; for tool in qemu-system-x86_64 mmdebstrap mke2fs; do \
	    command -v $$tool >/dev/null || missing+=" $$tool"; done; \
	if [ -z "$$missing" ]; then \
	    $(MAKE) --no-print-directory $(GUEST)/root.ext4; \
	    LAB_REBOOT=1 LAB_TIMEOUT=$${LAB_TIMEOUT:-900} \
	        bash tests/guest/guest.sh run $(GUEST) . tests/guest/run.py; \
	else \
	    echo "test-guest: not run, this machine has no$$missing"; \
	    echo "  hint: apt-get install qemu-system-x86 mmdebstrap e2fsprogs"; \
	    [ -z "$${CI:-}" ]; \
	fi

$(GUEST)/root.ext4: tests/guest/guest.sh pyproject.toml
	@mkdir -p $(GUEST)
	$(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/guest/guest.sh build $(GUEST) \
	    --apt "$(GUEST_APT)" --pip "$(GUEST_PIP)"

check: $(READY) ## format, ruff, mypy --strict, the architecture test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_architecture.py

format: $(READY) ## write the format that check asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) .bench-venv/.ready ## memory, CPU, latency, beside supervisord and circus; make bench f="restart status" some
	$(BIN)/python bench/figures.py $(f)

.bench-venv/.ready:
	$(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    supervisor superlance circus 'setuptools<81'
	@touch $@

sim: $(READY) ## tell the story of one simulated world: make sim SEED=n (drawn, if not given)
	@$(BIN)/python -m tests.sim $(SEED)

docs: $(READY) ## write what is generated: option reference, state diagram, units
	$(BIN)/python docs/generate.py $(if $(CI),--check)

clean: ## remove everything that was made, the guest too
	rm -rf $(VENV) .bench-venv .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml Makefile
	@command -v $(PYTHON) >/dev/null || { \
	    echo "make: no $(PYTHON) here; agentd needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $$($(PYTHON) -V) is too old; agentd needs Python 3.11 or newer"; \
	    echo "  hint: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: $(PYTHON) comes without venv"; \
	    echo "  hint: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[tests,checks,examples]'
	@touch $@
