# Everything a person types. Works with any POSIX make; needs python3 3.11 or newer.
.POSIX:
.PHONY: help install run simulator worker test test-quick check check-style check-types check-layers format migrations-check drill model measure soak bench bench-quick clean

PY = .venv/bin/python
DRILL_ARGS = --database both
MODEL_ARGS = --everything

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

install: ## make .venv and install everything, tests and checks included
	@sh scripts/venv.sh all

run: ## the whole system on this machine: web, Valkey, SQLite, a simulated Evolution (PORT=8000)
	@sh scripts/venv.sh run
	@exec $(PY) scripts/run.py

simulator: ## only the Evolution simulator (SIM_PORT=8090)
	@sh scripts/venv.sh run
	@exec $(PY) scripts/run.py --only simulator

worker: ## one more stream worker beside `make run`, or with REDIS_URL and DATABASE_URL of yours
	@sh scripts/venv.sh run
	@exec $(PY) scripts/run.py --only worker

test: install ## all tests, on PostgreSQL with Redis and on SQLite with Valkey (PYTEST_ARGS="-k name")
	@exec $(PY) scripts/test.py $(PYTEST_ARGS)

test-quick: install ## the tests that take seconds, on SQLite with Valkey
	@exec $(PY) scripts/test.py --quick $(PYTEST_ARGS)

check: check-style check-types check-layers ## style, types, and who may import whom

check-style: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

check-types: install
	MYPYPATH=scripts $(PY) -m mypy backend/apps backend/alrea_sense backend/testing backend/model backend/drill scripts
	MYPYPATH=scripts $(PY) -m mypy backend/bench --exclude bench/queues

check-layers: install
	PYTHONPATH=backend .venv/bin/lint-imports --no-logo

format: install ## put the code into its form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

migrations-check: install ## fail when a model change lacks its migration
	$(PY) backend/manage.py makemigrations --check --dry-run

drill: install ## every reliability drill on both databases, about an hour (DRILL_ARGS="--fault kill-loop --seed 1")
	@exec $(PY) backend/manage.py chat_drill $(DRILL_ARGS)

model: install ## the protocol as a model: holds? and without each guard? (MODEL_ARGS="--without settle")
	@cd backend && exec ../$(PY) -m model $(MODEL_ARGS)

measure: install ## how quick and how small an idle system is here (ARGS="--database postgresql")
	@exec $(PY) scripts/measure.py $(ARGS)

soak: install ## half an hour at half load: does anything grow, is anything lost? (ARGS="--minutes 2 --database sqlite")
	@exec $(PY) scripts/soak.py $(ARGS)

bench: install ## ours beside a yardstick and other systems, under 20 minutes; writes docs/benchmarks.md (ARGS="--only f3")
	@cd backend && exec ../$(PY) -m bench $(ARGS)

bench-quick: install ## the same in under 4 minutes: one round, small counts, two peers
	@cd backend && exec ../$(PY) -m bench --quick $(ARGS)

clean: ## forget the local data and caches; .venv stays
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find backend scripts -name __pycache__ -type d -prune -exec rm -rf {} +
