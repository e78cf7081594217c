# Every target works on a fresh machine that has Python >= 3.11 and make; a second call is fast.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# Tests wait for servers more than they compute: more processes than cores.
TEST_PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast up bench check chaos incidents stores screens fuzz lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Quicksilver needs Python >= 3.11; point PYTHON at one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

setup: $(STAMP)  ## the virtual environment, from the hashed lock

demo: $(STAMP)  ## the main job on the embedded stack, then a summary; exits non-zero if any count is off
	$(BIN)/quicksilver demo

up: $(STAMP)  ## the embedded stack in the foreground, until Ctrl-C
	$(BIN)/quicksilver up

test: $(STAMP)  ## every test, on real Postgres, MinIO, Prefect and Chromium
	$(BIN)/python -m tests.prepare
	$(BIN)/python -m pytest -q -p tests.sharing --numprocesses $(TEST_PROCESSES) --no-loadscope-reorder $(TEST_OPTIONS)

test-fast: $(STAMP)  ## the tests that need no server, in seconds: for the inner loop
	$(BIN)/python -m pytest -q tests/unit --numprocesses 2 --timeout 60

check: $(STAMP)  ## format, lint, types, SQL style, security rules, known advisories
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	# The type checker reads files under their names: here the package has its installed one.
	rm -rf build/types && mkdir -p build/types
	cp -rs $(CURDIR)/service build/types/quicksilver && cp -rs $(CURDIR)/flows build/types/quicksilver/flows
	$(BIN)/basedpyright --warnings
	$(BIN)/sqlfluff lint --processes 0 analytics/models analytics/tests
	$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml service flows compose
	$(BIN)/python -m tests.audit

bench: $(STAMP)  ## figures beside their baselines, in one run; writes bench/results.json
	$(BIN)/python -m bench

chaos: $(STAMP)  ## kill -9, cuts and overflows while real objects land; prints a table
	$(BIN)/python -m tests.chaos

incidents: $(STAMP)  ## each incident on a real stack: seconds until page, status, doctor and message said so
	$(BIN)/python -m tests.incidents

stores: $(STAMP)  ## every store and Kafka really run and killed (installs Ceph, Java and Maven as root); measures for docs/stores.md
	$(BIN)/python -m tests.stores
	$(BIN)/python -m pytest -q --timeout 900 tests/stores/real_ceph.py tests/stores/real_kafka.py

screens: $(STAMP)  ## the README's pictures of the operators' pages, taken from real runs
	$(BIN)/python -m tests.prepare
	$(BIN)/python -m tests.acceptance.screens

fuzz: $(STAMP)  ## payload and key decoding under Hypothesis, many examples
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q tests/unit -k "fuzz or roundtrip"

lock: $(STAMP)  ## resolve requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml requirements.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements.lock pyproject.toml requirements.in -o compose/requirements.lock

clean:  ## remove the environment and the embedded stack's state
	rm -rf $(VENV) build .quicksilver analytics/target analytics/logs
