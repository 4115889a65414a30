# The developer manual: `make help`. CI runs `.ci/run`, which runs `make test`.
PYTHON ?= python3
VENV ?= .venv
DR_POLICIES ?= policies.yaml
PORT ?= 3000
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long coverage bench lint format reference dev clean

help: ## Show this page
	@echo "make TARGET; PYTHON ($(PYTHON)) and VENV ($(VENV)) may be set. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make the virtual environment, with every version pinned; a few minutes, once

demo: $(INSTALLED) ## A disaster and its recovery in miniature; FEED=changes.jsonl for your own documents
	$(BIN)/dr demo $(if $(FEED),--feed "$(FEED)")

# Two halves, in order, so that what a module makes once is made twice at most where one is cut.
test: lint ## Everything a change must pass, except what is marked `long`
	$(BIN)/pytest -n 2 --dist worksteal -m "not long"

test-long: $(INSTALLED) ## The campaigns at full length, hours of them; leaves docs/results/
	DR_LONG=1 $(BIN)/pytest -m "long or campaign" -s

coverage: $(INSTALLED) ## The lines that no test of `make test` runs, in build/coverage/html; slower, gates nothing
	mkdir -p build/coverage
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not long" $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage html -q
	$(BIN)/coverage report

bench: $(INSTALLED) ## Measure; ARGS="--help" shows what
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(INSTALLED) ## Style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Rewrite what can be rewritten
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(INSTALLED) ## The API reference, from the docstrings, in build/reference
	$(BIN)/python docs/reference/build.py build/reference

# From its own directory, where Dagster finds one dagster.yaml and not two.
dev: $(INSTALLED) ## Dagster's web pages and daemon over this checkout; DR_POLICIES=FILE PORT=3000
	mkdir -p .dagster
	ln -sfn ../dagster.yaml .dagster/dagster.yaml
	cd .dagster && DAGSTER_HOME="$(CURDIR)/.dagster" DR_POLICIES="$(abspath $(DR_POLICIES))" \
	  $(abspath $(BIN))/dg dev -w ../workspace.yaml -p $(PORT) $(ARGS)

clean: ## Remove caches and Dagster's history; the environment and all data stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf build dist *.egg-info .dagster .tmp_dagster_home_*
	find . -name "$(VENV)" -prune -o -type d -name __pycache__ -exec rm -rf {} +

# PyTorch on its own, before anything can ask for another build of it; the build backend too, so that
# it is pinned like everything else. -qq: errors only.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV): about 2 GB, a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq -c constraints.txt torch hatchling editables
	@$(PIP) install -qq --no-build-isolation -c constraints.txt -e '.[dev,dagster,embeddings,golden,ui,minilm,chroma,lancedb,milvus,pgvector,qdrant]'
	@touch $@
