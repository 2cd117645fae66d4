# What a person types here. `make` alone lists it.

PYTHON ?= python3
CORES ?= all
TEST_JOBS ?= 2
TESTS ?= tests
EXTRA ?=
IF_POSSIBLE ?=
STAMP := .venv/.installed

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help env demo test fuzz cluster-test check clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) $(EXTRA:%=.venv/.installed-%)  ## make or update .venv as pinned in requirements.lock (EXTRA=slurm: and its lock)

$(STAMP): requirements.lock pyproject.toml tools/install.py
	@$(PYTHON) tools/install.py

.venv/.installed-%: requirements-%.lock $(STAMP)
	@$(PYTHON) tools/install.py $*

demo: $(STAMP)  ## build the demo corpus, train on it, convert, judge, and write the page
	@snakemake --cores $(CORES) train_hifigan_prematched demo
	@vcpipe demo-summary

test: $(STAMP)  ## run the tests (TESTS=tests/nn for a part, TEST_JOBS=0 for one process)
	@OMP_NUM_THREADS=1 python -m pytest -q -n $(TEST_JOBS) --dist loadfile $(TESTS)

fuzz: $(STAMP)  ## damaged recordings, hostile names and random shards; a few minutes
	@OMP_NUM_THREADS=1 python -m tests.fuzz --files 1000 --shards 10000 --flips 500

cluster-test: $(STAMP)  ## the demo and its accidents on a SLURM of its own (needs root; installs slurm-wlm and munge)
	@$(MAKE) --no-print-directory env EXTRA=slurm || [ -n "$(IF_POSSIBLE)" ]
	@python -m tests.cluster $(IF_POSSIBLE)

check: $(STAMP)  ## run the linters, the type checker and the import rules; all of them, then report
	@bash tools/check.sh

clean:  ## remove everything made here except .venv and what was converted, trained or measured (results/)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build
	@find vcpipe tests tools benchmarks workflow -name __pycache__ -type d -prune -exec rm -rf {} +
