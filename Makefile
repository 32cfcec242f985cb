# `make demo` and `make test` are all a newcomer needs: they make the virtual environment themselves.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SEED ?= 1
ROUNDS ?= 1000
GROW ?= 100_000 1_000_000

.PHONY: help demo test flux soak simulate crash coverage bench bench-quick lint types migrate revision docs clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | column -t -l 2

$(BIN)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

demo: $(BIN)/.installed        ## a bot killed three times and none the worse for it
	$(BIN)/gal-friday demo

test: $(BIN)/.installed        ## every test, on real servers
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

flux: $(BIN)/.installed        ## every Flux text through Flux's own language server; needs node and npm
	cd tests/flux && npm ci --ignore-scripts --no-audit --no-fund --silent
	$(BIN)/python -m tests.flux.texts | node tests/flux/check.js

soak: $(BIN)/.installed        ## 100,000 random sequences of fills, 64 writers, 1,000 simulations, 1,000 kills: hours
	GAL_FRIDAY_TEST_FILL_SEQUENCES=100000 GAL_FRIDAY_TEST_WRITERS=64 GAL_FRIDAY_TEST_UPDATES=500 \
	GAL_FRIDAY_TEST_JOURNAL_KILLS=1000 \
	$(BIN)/python -m pytest -n $(WORKERS) -rP --log-level=INFO \
	tests/acceptance/test_p03_exactly_once_fills.py tests/acceptance/test_p05_many_writers_of_one_position.py \
	tests/unit/test_durable_log.py
	$(BIN)/python -m tests.simulation 0 --count 1000

simulate: $(BIN)/.installed    ## two instances, an exchange and every fault, from a seed: make simulate SEED=42
	$(BIN)/python -m tests.simulation $(SEED) --trace

crash: $(BIN)/.installed       ## 1,000 crashes of every kind, each checked row by row: half an hour
	$(BIN)/python -m tests.crash --rounds $(ROUNDS) --seed $(SEED)

coverage: $(BIN)/.installed    ## every test, with the lines and branches they reach
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term

$(BIN)/.peers: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	touch $@

bench: $(BIN)/.peers           ## everything beside the driver by hand and other libraries: about twenty minutes
	$(BIN)/python -m benchmarks

bench-quick: $(BIN)/.peers     ## the same in about one minute, for a first look
	$(BIN)/python -m benchmarks --quick

lint: $(BIN)/.installed        ## ruff and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(BIN)/.installed       ## mypy --strict
	$(BIN)/mypy

migrate: $(BIN)/.installed     ## bring the configured database (or the embedded one) up to date
	$(BIN)/gal-friday db upgrade

revision: $(BIN)/.installed    ## a new revision from the models: make revision m="what changes"
	$(BIN)/gal-friday db revision -m "$(m)"

docs: $(BIN)/.installed        ## docs/schema.md, docs/retries.md and .env.example from the code
	$(BIN)/python docs/generate.py

.PHONY: scale
scale: $(BIN)/.installed       ## every query timed at 100,000 and 1,000,000 rows: make scale GROW="1_000_000 10_000_000"
	$(BIN)/python -m benchmarks.growth $(GROW)

clean:          ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov dist build
