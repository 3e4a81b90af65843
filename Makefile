# `make repro` and `make test` need Python 3.11 to 3.13, git and a package index; they install everything else.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# No tool sends usage data.
export DVC_NO_ANALYTICS := true
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export RAY_USAGE_STATS_ENABLED := 0
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
  --overrides $(VENV)/without-torch.txt --quiet $(LOCK_OPTIONS)
# Runs tests in two processes; all tests of a file run in the same one.
PORT := 5000
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile

.PHONY: help environment developer cluster demo repro metrics refresh test test-unit test-pipeline test-system test-slow check format ui up down lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

environment: ## create .venv from requirements.lock and requirements-torch.txt
	@deploy/environment.sh

developer: ## create .venv with tests, linters and type checkers, too (requirements-dev.lock)
	@deploy/environment.sh dev

cluster: ## create .venv with Ray and container workers, too (requirements-cluster.lock)
	@deploy/environment.sh cluster

repro: environment ## run the pipeline (dvc repro), check the registry, print a table of results
	@python -m stages.repro

metrics: environment ## print the metrics of each task with their intervals
	@python -m stages.results

refresh: environment ## check the sources for new data and pin it; the next `make repro` uses it
	@python -m stages.refresh

test: test-unit ## run all tests except the slow ones
	@python -m pytest tests/pipeline tests/system -q -m "not slow" $(SIDE_BY_SIDE)

test-unit: developer ## run the unit tests
	@python -m pytest tests/unit -q $(SIDE_BY_SIDE)

test-pipeline: developer ## test the real pipeline in temporary clones
	@python -m pytest tests/pipeline -q -m "not slow"

test-system: developer ## test environments and servers
	@python -m pytest tests/system -q -m "not slow"

test-slow: developer ## test workers, containers, searches, promotion, the demo page (two hours); PART=3/60 runs a sixtieth
	@deploy/environment.sh demo
	@python -m pytest tests -v -m slow $(if $(PART),--part $(PART))

check: developer ## check params.yaml, formatting, lint, types and that dvc.lock fits the code
	@python -m stages.params
	@ruff format --check --quiet . || { echo "unroll: run 'make format'" >&2; exit 1; }
	@ruff check --quiet .
	@mypy --no-error-summary
	@planned=$$(dvc repro --dry --allow-missing) || exit 1; \
	stale=$$(echo "$$planned" | sed -n "s/^Running stage '\(.*\)':/\1/p"); \
	stale=$$(echo "$$stale" | python -m flows.hold_back) || exit 1; if [ -n "$$stale" ]; then \
	  echo "unroll: dvc.lock does not fit the code or params; run 'make repro' and commit dvc.lock. Stale:" $$stale >&2; exit 1; fi

format: developer ## format the code
	@ruff format --quiet . && ruff check --quiet --fix .

demo: environment ## start the demo page on http://127.0.0.1:7860 (requirements-demo.lock)
	@deploy/environment.sh demo
	@python -m flows.demo

ui: environment ## start MLflow's UI on http://127.0.0.1:5000 (PORT=8000: on another port); prints links
	@python -m stages.registry links --ui http://127.0.0.1:$(PORT)
	@exec mlflow server --host 127.0.0.1 --port $(PORT) --backend-store-uri "$$(python -m stages.tracking.store)"

up: environment ## start Prefect, MLflow and workers on 127.0.0.1 (BACKEND=postgres: on PostgreSQL), deploy the flows
	@UNROLL_BACKEND=$(BACKEND) python -m flows.server.servers up

down: environment ## stop what `make up` started, and nothing else
	@python -m flows.server.servers down

lock: environment ## recompile the lock files
	@printf "torch ; python_version < '3'\n" > $(VENV)/without-torch.txt
	@$(COMPILE) pyproject.toml -o requirements.lock
	@printf "pillow>=10\ntomlkit>=0.13\n" > $(VENV)/beyond-gradio.txt
	@for group in cluster dev; do $(COMPILE) --group pyproject.toml:$$group -c requirements.lock -o requirements-$$group.lock; done
	@$(COMPILE) --overrides $(VENV)/beyond-gradio.txt --group pyproject.toml:demo -c requirements.lock -o requirements-demo.lock

clean: ## remove the pipeline's outputs, but not the cache or the registry
	@rm -rf data weights metrics plots cards receipts profiles drift nights dvc_plots
