# Needs Python 3.11 to 3.13 (PYTHON=... names another one than python3) and make; everything else comes into .venv.
# .venv, .airflow and all servers' data can be removed at any time.

PYTHON ?= python3
SIZE ?= full
VENV := .venv
RUN := $(VENV)/bin/python

# Airflow writes its configuration and logs here instead of into the home directory.
export AIRFLOW_HOME := $(CURDIR)/.airflow
export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types layers drift bench format lock clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo  ## install, start the servers and Airflow, back up the sample database and prove it; Ctrl-C ends it
	@$(RUN) -m embedded.demo

test: $(VENV)/.dev  ## all tests; ARGS="..." goes to pytest
	@$(RUN) -m pytest $(ARGS)

check: lint types layers drift  ## lint, format, types, layers, and that files agree with what they are made from or speak of

lint: $(VENV)/.dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

types: $(VENV)/.dev
	@$(RUN) -m mypy

layers: $(VENV)/.dev
	@$(VENV)/bin/lint-imports --no-logo

drift: $(VENV)/.dev
	@$(RUN) -m pytest -q -n 0 -m drift tests/unit

bench: $(VENV)/.dev  ## side-by-side benchmarks; SIZE=small (under two minutes) or full
	@$(RUN) -m bench --size "$(SIZE)"

format: $(VENV)/.dev  ## reformat, and repair what ruff can repair
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

lock: $(VENV)/.uv  ## compile requirements*.txt from pyproject.toml; ARGS="--upgrade" takes newer versions
	@$(RUN) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" \
		$(ARGS) pyproject.toml -o requirements.txt
	@$(RUN) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" \
		$(ARGS) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

clean:  ## remove .venv and what Airflow and the tests wrote
	@rm -rf $(VENV) .airflow .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The stamps are newer than the requirements they were installed from.
$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
		"Name a Python 3.11, 3.12 or 3.13 with PYTHON=...: Airflow 3.3.2 does not run on $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Install the venv module of $(PYTHON) (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements-dev.txt)"
	@touch $@

$(VENV)/.demo: $(VENV)/.uv requirements.txt
	@$(RUN) -m uv pip install --quiet --python $(RUN) -r requirements.txt --group embedded -c requirements-dev.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements-dev.txt
	@$(RUN) -m uv pip install --quiet --python $(RUN) -r requirements-dev.txt
	@touch $@ $(VENV)/.demo
