# `make demo` and `make test` need Python 3.11 or newer with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Tests wait for processes a little more than they compute: five at a time for every two processors.
JOBS ?= $(shell echo $$((5 * $$(nproc) / 2)))

# Debian packages of the strangers that some tests and benchmarks speak to; tests skip what is not there.
TOOLS := caddy chromium chromium-driver curl fish haproxy logrotate nghttp2-client nginx openssl postgresql prometheus python3-venv systemd wrk zsh zstd
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types suite docs tools bench trial chaos siege clean

help:
	@echo "make demo    run the proxy with two backends of a demo app, on https://127.0.0.1:8443"
	@echo "make test    linters, types and the whole test suite"
	@echo "make tools   install the Debian packages that some tests need (needs root)"
	@echo "make lint, types, suite: the parts of make test; docs: write what is generated; bench: measure; trial: do the tutorials; clean"
	@echo "make chaos   fifty runs of random operations, faults and takeovers under load; make siege: a minute of each attack"

# What to try next is printed when both backends are ready, by a process that ends with that.
demo: $(VENV)/installed-for-demo
	@($(BIN)/python backends/demo/welcome.py &); exec $(BIN)/hotswap run conf/demo.toml

# One after the other, cheap ones first, also under make -j.
test: $(VENV)/installed-for-test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory suite

lint: $(VENV)/installed-for-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/installed-for-test
	$(BIN)/mypy

# First what does not mind company, then, two at a time, what measures delays, last what measures the machine.
# They start hundreds of processes: none is to compile again what another one has compiled.
suite: export PYTHONDONTWRITEBYTECODE =
suite: $(VENV)/installed-for-test
	$(BIN)/pytest -n $(JOBS) --dist load --maxschedchunk 1 -m "not timed and not alone"
	$(BIN)/pytest -n 2 -m timed tests/e2e
	$(BIN)/pytest -m alone tests/e2e

docs: $(VENV)/installed-for-test
	$(BIN)/python -m docs.tools

# All of it takes about twenty-five minutes of a quiet machine; BENCH="--quick", BENCH="--cases get-32,tls-get" and so on.
bench: $(VENV)/installed-for-bench
	$(BIN)/python -m tests.bench --directory build/bench $(BENCH)

# What a new user does, from the clone on; it fetches packages.
trial: $(VENV)/installed-for-test
	$(BIN)/python -m tests.support.trial

# Each run prints its seed, with which it can be repeated: CHAOS="--seed 7".
chaos: $(VENV)/installed-for-test
	$(BIN)/python -m tests.support.chaos --runs 50 $(CHAOS)

# One hostile client for a minute in each way: SIEGE="--seconds 5 'rapid reset'".
siege: $(VENV)/installed-for-test
	$(BIN)/python -m tests.support.siege $(SIEGE)

tools:
	@missing=""; for package in $(TOOLS); do \
		dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q "install ok installed" \
			|| missing="$$missing $$package"; \
	done; \
	test -z "$$missing" || { \
		$(SUDO) apt-get update --quiet --quiet && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing; \
	}

clean:
	rm -rf $(VENV) .hotswap .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info build

# A stamp is newer than what the installation was made from; the checkout itself is installed by reference.
$(VENV)/installed-for-demo: $(VENV)/bin/python pyproject.toml tests/constraints.txt
	$(PIP) install --constraint tests/constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/installed-for-test: $(VENV)/bin/python pyproject.toml tests/constraints.txt
	$(PIP) install --constraint tests/constraints.txt --editable '.[demo,test]'
	@touch $@ $(VENV)/installed-for-demo

$(VENV)/installed-for-bench: $(VENV)/installed-for-test
	$(PIP) install --constraint tests/constraints.txt --editable '.[demo,test,bench]'
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hotswap needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
