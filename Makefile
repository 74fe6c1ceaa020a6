# The two commands: `make demo` (the lab: an internet in a box, and attackers) and `make test` (everything).
.PHONY: demo test lint types imports docs unit man dist soak bench mutation clean help
BIN := .venv/bin

help:
	@echo "make demo   set up, then run the attack lab"
	@echo "make test   set up, real peers included, then run every check and test"
	@echo "make lint types imports docs unit   one check at a time"
	@echo "make man    manual pages and shell completions, from the commands (packaging/man, packaging/completions)"
	@echo "make dist   source distribution and wheel, built twice and compared, checked, installed and run"
	@echo "make soak   500 SIGKILLs, bad disks, clocks, receivers, power cuts: nothing may be lost (about 15 minutes)"
	@echo "make bench  relay speed beside Postfix and OpenSMTPD (about 6 minutes)"
	@echo "make mutation   mutants of the decision and of identities (about 15 minutes)"

demo: .make/runtime
	$(BIN)/letterlock lab

test: lint types imports docs unit

.make/runtime: requirements.lock pyproject.toml tools/setup
	@mkdir -p .make
	tools/setup requirements.lock
	@touch $@

.make/dev: requirements-dev.lock pyproject.toml tools/setup
	@mkdir -p .make
	tools/setup requirements-dev.lock
	@touch $@ .make/runtime

.make/debian: tools/debian-packages.txt tools/debian-packages
	@mkdir -p .make
	tools/debian-packages
	@touch $@

lint: .make/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .make/dev
	$(BIN)/mypy

imports: .make/dev
	$(BIN)/lint-imports

docs: .make/dev
	$(BIN)/python tools/docs.py --check

unit: .make/dev .make/debian
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

man: .make/dev
	$(BIN)/python tools/docs.py

dist: .make/dev
	tools/dist

soak: .make/dev .make/debian
	$(BIN)/python -m tests.soak.run --kills 500 --workers 3 --seed 1
	$(BIN)/python -m tests.soak.powercut --messages 2000 --cuts 150 --seed 1

bench: .make/dev .make/debian
	$(BIN)/python -m bench.relay

mutation: .make/dev
	nice $(BIN)/python -m tests.mutation.run

clean:
	rm -rf .venv .make build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
