# Everything goes into .venv, here. `make` sets it up and lists what else there is.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := all
.PHONY: all setup demo test test-faults test-guide lint bench bench-decisions bench-serving bench-training serve constraints help clean

all: setup help

setup: $(READY)  ## put Python packages and the project into .venv (a minute or two, once)

demo: $(READY)  ## the main job on made-up payments: simulate, train, serve, ask (under three minutes)
	@$(BIN)/python docs/demo.py

test: $(READY)  ## run the tests, but for those of faults and of the guide
	$(BIN)/python -m pytest -m "not faults and not guide"

test-faults: $(READY)  ## what faults and abuse do to the service, with figures; wants Redis and PostgreSQL installed
	PAYRESCUE_REQUIRE_STORES=1 PAYRESCUE_CASES=2000 $(BIN)/python -m pytest -m faults

test-guide: $(READY)  ## run docs/guide.md and docs/notebook.ipynb whole, and compare with what stands in them
	$(BIN)/python -m pytest -m guide

lint: $(READY)  ## style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## measure what the project promises, into build/bench/
	$(BIN)/python -m benchmarks

bench-decisions: $(READY)  ## measure diagnosis, choice, rules and policies: one table, and build/bench/all_decisions.json
	$(BIN)/python -m benchmarks.decisions

bench-serving: $(READY)  ## measure the service over HTTP against its peers, into build/bench/serving.json
	$(BIN)/python -m benchmarks serving

ATTEMPTS ?= 100000 1000000 10000000

bench-training: $(READY)  ## measure trainings of ATTEMPTS (as it comes, up to ten million: hours), local and on Dask
	$(BIN)/python -m benchmarks.training $(ATTEMPTS:%=--attempts %)

serve: $(READY)  ## answer checkout on port 3000: by the champion; with no model yet, by the rules
	@$(BIN)/payrescue serve

constraints: $(READY)  ## write constraints.txt and deploy/requirements.txt anew from pyproject.toml: today's versions, with hashes
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file constraints.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint constraints.txt \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file deploy/requirements.txt pyproject.toml

help:  ## list these targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

clean:  ## remove .venv and everything built; mlflow.db and mlruns stay
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs many times faster than pip; pip installs it, by the same hashes. The last two lines run what is
# compiled to serve and to simulate: numba keeps the machine code, and no start waits for its compiler afterwards.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "setup: want Python 3.11 or later as '$(PYTHON)'; name another by: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "setup: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ctypes, sys; sys.platform == "linux" and ctypes.CDLL("libgomp.so.1")' 2>/dev/null \
		|| { echo "setup: libgomp.so.1 is missing, LightGBM needs it; on Debian: apt install libgomp1" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt
	@echo "setup: installing packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r constraints.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@echo "setup: compiling kernels"
	@$(BIN)/python -c 'from models.nothing import of_nothing; of_nothing()'
	@$(BIN)/python -c 'from training.simulator import simulate; simulate(10, seed=1)'
	@touch $(READY)
