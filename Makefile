# Run "make" or "make help" for the list of what can be done here.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
LOG := $(VENV)/install.log
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(VENV)/bin/python -m pip

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint format bench bench-kv bench-all simulate mutants reference constraints clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## Create .venv with .venv/bin/quorate in it (PYTHON=... chooses the interpreter)

$(STAMP): pyproject.toml requirements/constraints.txt
	@command -v "$(PYTHON)" >/dev/null 2>&1 \
	  || { echo "There is no $(PYTHON) here: install Python 3.11 or later, or run make with PYTHON=/path/to/python." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Quorate needs Python 3.11 or later, but $(PYTHON) is $$("$(PYTHON)" -V 2>&1): run make with PYTHON=/path/to/a/later/python." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments: install its venv package (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 \
	  || { echo "Creating $(VENV) with $$("$(PYTHON)" -V) ..."; "$(PYTHON)" -m venv --clear $(VENV); }
	@echo "Installing Quorate and its tools into $(VENV) (log: $(LOG)) ..."
	@$(PIP) install -e '.[dev]' -c requirements/constraints.txt >$(LOG) 2>&1 \
	  || { tail -n 15 $(LOG) >&2; echo "The installation failed; the whole log is $(LOG)." >&2; exit 1; }
	@touch $(STAMP)
	@echo "Installed: $(VENV)/bin/quorate"

demo: $(STAMP)  ## Serve a shop from three nodes on ports 8080-8082 (PORT=9080: others; STORY=1: survive a kill -9, check, exit)
	@$(VENV)/bin/quorate demo $(if $(PORT),--port $(PORT)) $(if $(filter-out 0,$(STORY)),--story)

test: lint  ## Check style and types, then run the whole test suite
	@$(VENV)/bin/python -m pytest -q -n 3 --dist worksteal $(PYTEST_ARGS)

test-long: $(STAMP)  ## Attack real node processes for ten minutes (NEMESIS_SECONDS=60: shorter, NEMESIS_SEED=N: that one)
	@$(VENV)/bin/python -m pytest tests/long -m long -q -s $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(STAMP)  ## Let ruff format the code and put imports in order
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

bench: $(STAMP)  ## Measure a three-node cluster of real processes, fsync on (RESULTS=FILE: the table goes there)
	@$(VENV)/bin/quorate bench crud --markdown $(or $(RESULTS),build/bench-crud.md) $(BENCH_ARGS)

bench-kv: $(STAMP)  ## Measure keys and values on three nodes, three of etcd and a Redis (RESULTS=FILE: the table goes there); as root, installs these first
	@.ci/packages bench
	@$(VENV)/bin/quorate bench kv --markdown $(or $(RESULTS),build/bench-kv.md) $(BENCH_ARGS)

bench-all: $(STAMP)  ## Measure everything that benchmarks/results shows, in less than ten minutes (RESULTS=DIRECTORY: the tables go there)
	@.ci/packages bench
	@$(VENV)/bin/python benchmarks/run_all.py $(or $(RESULTS),build/results) $(BENCH_ARGS)

simulate: $(STAMP)  ## Run simulated clusters full of faults (SEED=N: that one; TRACE=1: print it; SEEDS=N: so many)
	@$(VENV)/bin/quorate simulate $(if $(SEED),--seed $(SEED) $(if $(filter-out 0,$(TRACE)),--trace),--seeds $(or $(SEEDS),500))

mutants: $(STAMP)  ## Bring known bugs back, one at a time: the simulator has to find each (ONLY=part of a name)
	@$(VENV)/bin/python -m quorate.testing.simulation.mutation $(if $(ONLY),--only $(ONLY)) $(MUTANTS_ARGS)

reference: $(STAMP)  ## Write the commands in docs/kv.md, the life of a task in docs/tasks.md, the codes in docs/http.md
	@$(VENV)/bin/python -m quorate.kv.reference docs/kv.md
	@$(VENV)/bin/python -m quorate.tasks.reference docs/tasks.md docs/http.md

constraints: $(STAMP)  ## Write the installed versions to requirements/constraints.txt
	@{ echo "# The versions that are installed and tested together. Kept by 'make constraints'."; \
	   $(PIP) freeze --exclude-editable; } >requirements/constraints.new
	@mv requirements/constraints.new requirements/constraints.txt

clean:  ## Remove .venv and everything that can be made again
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
