# The commands of this project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Tests wait for servers more than they calculate: one process more than there are cores. JOBS=0 runs them in one.
JOBS ?= $(shell echo $$(( $$(nproc) + 1 )))
SOAK_SECONDS ?= 600
SOAK_SEED ?= 10
PARALLEL := -n $(JOBS) --dist loadfile
ENVIRONMENT := @deploy/environment.sh --folder $(VENV)

.PHONY: help runtime setup demo browser console test test-unit check static format lint types imports coverage contracts golden clean \
        bench-spine bench-api bench-rebuild bench-recovery bench-repository bench-sources bench-planner bench-failover bench-compliance bench-quick test-slow soak soak-repository mutants

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

runtime: ## Make the virtual environment from the hash-pinned lock, with what the platform needs
	$(ENVIRONMENT)

setup: ## The same with what tests and checks need
	$(ENVIRONMENT) --dev

demo: runtime ## Back up a seeded folder to four tiers, lose one, restore, compare every byte (OPEN=1: the console stays up)
	$(BIN)/wedsync-backup demo $(if $(OPEN),--open)

test: setup ## All tests but the slow ones; starts Postgres, NATS and S3 by itself
	$(PYTEST) $(PARALLEL) -m "not slow" tests

test-unit: setup ## Tests without any server, in minutes
	$(PYTEST) -m "not slow and not stack" tests/unit tests/contract tests/architecture

test-slow: setup ## Scale, soak and long fault tests
	$(PYTEST) -m slow tests

soak: setup ## Ten minutes of kills of every process under load, with 13 workers (SOAK_SECONDS=, SOAK_SEED=)
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) $(PYTEST) -s -k accounted_for tests/faults/platform/test_soak.py

soak-repository: setup ## An hour of seeded histories of a repository on four tiers, and 3,000 repairs of any change
	WEDSYNC_SOAK_SECONDS=3600 $(PYTEST) -m slow tests/faults/repository/test_histories.py
	WEDSYNC_EXAMPLES=3000 $(PYTEST) --timeout 7200 -k any_change tests/unit/repository/test_check_repair.py

browser: ## Install Debian's browser without a window, which the console's test needs (by root)
	command -v chromium-headless-shell chromium || { apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium-headless-shell >/dev/null; }

console: setup browser ## The console in a browser: every page, the main way, new pictures for the documents
	WEDSYNC_SHOTS=$(CURDIR)/docs/figures/console $(PYTEST) tests/system/test_console.py

coverage: setup ## The same, with branch coverage and its floors; what fails is run once more, alone
	$(BIN)/python -m coverage erase
	$(BIN)/python -m tests.suite $(PARALLEL)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --fail-under=90
	$(BIN)/python -m coverage report --include='repository/*' --fail-under=95

COMMIT ?= HEAD
RELEASE ?= dist/release
.PHONY: advisories release upgrade
advisories: setup ## What is known against the pinned packages, by the file that is shipped: 4 where that is too old to say
	$(BIN)/python -m deploy.supply licences
	$(BIN)/python -m deploy.supply advisories

release: setup ## Wheel, locks, parts list and sums of COMMIT (HEAD) into RELEASE (dist/release); docs/release.md
	$(BIN)/python -m deploy.supply release --commit $(COMMIT) $(RELEASE)

upgrade: setup ## From PREVIOUS= (a tag or a commit) to this version and back, with runs under way
	$(BIN)/python -m benchmarks.upgrade $(PREVIOUS)

check: static test-unit ## Format, lint, types, import rules, generated files, unit tests

static: setup lint types imports contracts ## The same without the tests, for who runs all of them anyway

format: setup ## Put the code into its format
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

lint: setup ## Format and lint, without changing anything
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .

types: setup ## Strict types, of the TypeScript client as well
	$(BIN)/python -m mypy
	$(BIN)/python -m tests.support.node node_modules/typescript/bin/tsc -p .
	$(BIN)/python -m tests.support.node --console ../clients/typescript/node_modules/typescript/bin/tsc -p .

imports: setup ## The import rules of the architecture
	$(BIN)/python $(BIN)/lint-imports --no-cache

contracts: setup ## Generated schemas, examples, AsyncAPI, OpenAPI, the client and the settings table are what the code says
	$(BIN)/python -m contracts.generate --check
	$(BIN)/python -m tests.contract.typescript_client --check
	$(BIN)/python -m tests.contract.console --check
	$(BIN)/python -m tests.contract.commands_document --check
	$(BIN)/python -m deploy.production --check

golden: setup ## Write the golden files anew (in a commit of their own)
	$(BIN)/python -m contracts.generate
	$(BIN)/python -m gateway openapi
	$(BIN)/python -m tests.contract.typescript_client
	$(BIN)/python -m tests.contract.console
	$(BIN)/python -m tests.contract.settings_document
	$(BIN)/python -m tests.contract.commands_document
	$(BIN)/python -m tests.contract.service_tables
	$(BIN)/python -m deploy.production
	$(BIN)/python -m tests.compat.make_golden
	$(BIN)/python -m tests.compat.make_golden_life
	$(BIN)/python -m tests.compat.format_1

bench-api: setup ## Fifty and more runs at once on the platform as it comes: overlap, turns, memory, answers meanwhile
	$(BIN)/python -m benchmarks.runs_bench

bench-spine: setup ## The figures of the platform: latency, rates, memory
	$(BIN)/python -m benchmarks.spine_bench

bench-rebuild: setup ## A rebuild of a million events beside 100 requests a second
	$(BIN)/python -m benchmarks.spine_bench --executions 333334 --only history --only "rebuild while asked"

bench-repository: setup ## The figures of the repository, side by side with restic 0.19.1 and 0.14
	$(BIN)/python -m benchmarks.repository_bench

bench-recovery: setup ## The platform brought back from its recovery kit and one tier, with a record of a million events
	$(BIN)/python -m benchmarks.recovery_bench

bench-sources: setup ## Databases and buckets, side by side with pg_dump, and with rclone and restic
	$(BIN)/python -m benchmarks.sources_bench

bench-planner: setup ## The retention planner on a million points of ten thousand configurations: seconds and memory
	$(BIN)/python -m benchmarks.planner_probe

bench-failover: setup ## A standby takes over a database of 1 GB under 500 transactions a second: seconds, and what is lost
	$(BIN)/python -m benchmarks.failover_probe

bench-compliance: setup ## The audit log and audits over a million events: appending, proofs, accesses, verification
	$(BIN)/python -m benchmarks.compliance_bench

bench-quick: setup ## The repository's benchmark, small and not written down: that it still works
	$(BIN)/python -m benchmarks.repository_bench --quick

mutants: setup ## The share of mutants of the crypto, format, log and log-repair modules that the tests kill
	$(BIN)/python -m tests.mutation.mutants

clean: ## Remove what was built, but not the data of a running platform
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage .coverage.* \
	    clients/typescript/node_modules clients/typescript/dist console/node_modules docs/examples/node_modules

.PHONY: bench-storage
bench-storage: setup ## A plan of a million points, and a simulated year of 200 configurations: what is kept too long
	$(BIN)/python -m benchmarks.storage_bench
