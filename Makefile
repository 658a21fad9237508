# One door: `make help`. Needs python3 (3.11 or newer), make and a package index; makes the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The tests start hundreds of daemons; without its bytecode each would compile all of agentd.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help run demo test test-unit test-real test-faults test-crash test-guest test-newer check format bench bench-killed bench-zoo sim sim-nightly fuzz soak docs screenshots clean

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
REAL := tests/daemon tests/faults tests/crash tests/programs tests/security tests/soak tests/browser tests/fleet

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
	$(MAKE) --no-print-directory test-guest || { \
	    echo "test: the guest is emulated, and slow: it has a second try"; \
	    $(MAKE) --no-print-directory test-guest; }
	$(MAKE) --no-print-directory test-real
endif

test-unit: $(READY) ## the quick ones: no processes but those of a command line
	$(PYTEST) -n $(WORKERS) $(addprefix --ignore=,$(REAL))

test-real: $(READY) ## real daemons, real agents; they judge time by a control loop beside them
	$(PYTEST) -n $(WORKERS) --dist loadscope $(REAL) || { \
	    echo "test-real: what failed has a second try, alone: these judge by time"; \
	    $(PYTEST) --last-failed --last-failed-no-failures none $(REAL); }

test-faults: $(READY) ## every fault of docs/faults.md, with a table at the end; k=a5 some of them
	$(PYTEST) -q -p tests.faults.table -n $(WORKERS) --dist loadscope $(if $(k),-k '$(k)') \
	    $(if $(json),--faults-json='$(json)')

test-crash: $(READY) ## the daemon killed, or an error, at each call of each operation (docs/crash.md); k=pause some of it
	AGENTD_CRASH_STRIDE=$${AGENTD_CRASH_STRIDE:-1} $(PYTEST) -q -n $(WORKERS) --dist load \
	    $(if $(k),-k '$(k)') tests/crash tests/faults/test_crash_points.py \
	    tests/faults/test_alert_crash_points.py

test-guest: $(READY) ## under a real systemd, in a virtual machine kept in .lab; k=oom one section of tests/guest
	@missing=; for tool in qemu-system-x86_64 mmdebstrap mke2fs; do \
	    command -v $$tool >/dev/null || missing+=" $$tool"; done; \
	if [ -z "$$missing" ]; then \
	    $(MAKE) --no-print-directory $(GUEST)/root.ext4; \
	    LAB_REBOOT=1 LAB_TIMEOUT=$${LAB_TIMEOUT:-1500} \
	        bash tests/guest/guest.sh run $(GUEST) . tests/guest/run.py $(k) || exit; \
	    [ -n '$(k)' ] || $(MAKE) --no-print-directory test-newer; \
	else \
	    echo "test-guest: not run, this machine has no$$missing"; \
	    echo "  hint: apt-get install qemu-system-x86 mmdebstrap e2fsprogs"; \
	    [ -z "$${CI:-}" ]; \
	fi

test-newer: $(READY) $(GUEST)/root.ext4 ## the daemon's ends once more, under a kernel that tells how a process ended (6.15)
	@[ $(GUEST)/newer/vmlinuz -nt tests/guest/guest.sh ] || $(SUDO) bash tests/guest/guest.sh newer $(GUEST) || { \
	    [ $$? = 3 ] || exit 1; \
	    echo "test-newer: not run, the mirror has no newer kernel; the guest's own was judged alone"; \
	    exit 0; }; \
	LAB_KERNEL=newer LAB_ENV=LAB_KERNEL LAB_TIMEOUT=$${LAB_TIMEOUT:-600} \
	    bash tests/guest/guest.sh run $(GUEST) . tests/guest/run.py ends

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

bench-killed: $(READY) .bench-venv/.ready .bench-node/.ready ## kill -9 the supervisor 200 times: agentd, supervisord, circus, pm2; f="--rounds 20 agentd" less
	$(BIN)/python tests/init.py $(BIN)/python -m bench.killed $(f)

bench-zoo: $(READY) .bench-venv/.ready .bench-node/.ready ## who survives "stopped" under agentd, supervisord, circus, pm2
	$(BIN)/python tests/init.py $(BIN)/python -m bench.zoo $(f)

.bench-venv/.ready:
	$(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    supervisor superlance circus 'setuptools<81'
	@touch $@

.bench-node/.ready:
	npm install --prefix .bench-node --silent --no-audit --no-fund pm2
	@touch $@

sim: $(READY) ## tell the story of one simulated world: make sim SEED=n (drawn, if not given)
	@$(BIN)/python -m tests.sim $(SEED)

sim-nightly: $(READY) ## fresh simulated worlds on all cores for MINUTES=10; each failure with its seed
	@$(BIN)/python -m tests.sim.nightly $(MINUTES)

MINUTES ?= 60
soak: $(READY) ## faults by chance on fifty agents, then the invariants: make soak MINUTES=60 SEED=n
	$(BIN)/python tests/init.py $(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

fuzz: $(READY) ## throw broken input at every parser: make fuzz LINES=n SEED=n TARGET=lines MINUTES=n a piece of it
	$(BIN)/python -m tests.fuzz $(if $(LINES),--lines $(LINES)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(TARGET),--target $(TARGET)) $(if $(filter command line,$(origin MINUTES)),--minutes $(MINUTES))

docs: $(READY) ## write what is generated: option reference, state diagram, units
	$(BIN)/python docs/generate.py $(if $(CI),--check)

screenshots: $(READY) ## take the pictures of the dashboard again, docs/images; needs chromium
	$(BIN)/python tests/init.py $(BIN)/python docs/screenshots.py

clean: ## remove everything that was made, the guest too
	rm -rf $(VENV) .bench-venv .bench-node .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .soak

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
