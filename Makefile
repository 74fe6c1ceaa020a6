# The two commands: `make demo` (the lab: an internet in a box, and attackers) and `make test` (everything).
.PHONY: demo lab lab-peers test quick lint types imports docs prose unit coverage man dist deb deb-check container-check guide-check upgrade-check soak bench mutation clean help
BIN := .venv/bin
CHECKS := lint types imports docs prose
# One more than processors: tests that start programs wait for them half of the time.
TEST_WORKERS := $(shell expr $$(nproc) + 1)
# The folders whose tests start programs or servers by the hundred take minutes; these take seconds.
QUICK := $(addprefix tests/,accounts companion config deliver discover dsn identity inspect mail mailauth metrics milter \
	mtasts policy queue receive recipients report resolver routing sasl schedule smtp socketmap state tables tlsrpt)

help:
	@echo "make demo   set up, then run the attack lab: one attack of each kind, within 2 minutes"
	@echo "make lab    every attack of the lab against every protection (about 3 minutes)"
	@echo "make lab-peers   the same attacks against Postfix, Exim and OpenSMTPD (as root; about 25 minutes)"
	@echo "make test   set up, real peers included, then run every check and test"
	@echo "make quick  the tests that a change breaks most often, within a minute"
	@echo "make lint types imports docs prose unit   one check at a time"
	@echo "make coverage   the tests once more, with the lines and branches that they ran (half as long again)"
	@echo "make man    manual pages and shell completions, from the commands (packaging/man, packaging/completions)"
	@echo "make dist   source distribution and wheel, built twice and compared, checked, installed and run"
	@echo "make deb    a package for Debian 12, from make dist"
	@echo "make deb-check   install, use, upgrade, remove and purge it in a Debian of its own (as root; about 10 minutes)"
	@echo "make container-check   build the container image, run it, stop and kill it under load (as root; about 2 minutes)"
	@echo "make guide-check   every command of the guides, and the one to a real domain on a Debian of its own (as root; 6 minutes)"
	@echo "make upgrade-check   from 0.1.0 to this version with mail in the queue, and back (about a minute)"
	@echo "make soak   500 SIGKILLs, bad disks, clocks, receivers, power cuts: nothing may be lost (about 15 minutes)"
	@echo "make bench  relay speed beside Postfix and OpenSMTPD (about 18 minutes)"
	@echo "make mutation   mutants of the decision and of identities (about 15 minutes)"

demo: .make/runtime
	$(BIN)/letterlock lab --short

# Every attack against every protection; the same command with --json gives the figures.
lab: .make/runtime
	$(BIN)/letterlock lab

# The same attacks against other servers, and docs/concepts/attack-matrix.md with its picture; as root.
lab-peers: .make/dev .make/debian
	$(BIN)/python -m tests.interop.peer_matrix --write

# The checks use the processor while the tests wait for timers and programs: two jobs, the long one first.
test: .make/dev .make/debian
	@$(MAKE) --no-print-directory --jobs=2 unit $(CHECKS)

# What a change breaks most often, in under a minute on two idle cores: no coverage, no real programs. Nothing here waits,
# so a worker per processor is enough; what pytest makes of the test files is kept for the next time.
quick: export PYTHONDONTWRITEBYTECODE =
quick: .make/dev
	$(BIN)/python -m pytest -n $(shell nproc) --dist loadfile $(QUICK)

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
	$(BIN)/hadolint packaging/Containerfile

types: .make/dev
	$(BIN)/mypy

imports: .make/dev
	$(BIN)/lint-imports

docs: .make/dev
	$(BIN)/python tools/docs.py --check

prose: .make/dev
	$(BIN)/python tools/prose.py

# Every worker reads every test file: what pytest makes of them is kept by one that reads them first. What it cannot read
# ends the run at once, with the reasons.
unit: export PYTHONDONTWRITEBYTECODE =
unit: .make/dev .make/debian
	@$(BIN)/python -m pytest --collect-only -qq >.make/collected || { grep '^E  ' .make/collected | sort -u; exit 1; }
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

# Tracing costs a third of the processor's time, so it is not part of `make test`.
coverage: .make/dev .make/debian
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

man: .make/dev
	$(BIN)/python tools/docs.py

dist: .make/dev
	tools/dist

deb: dist
	tools/deb

deb-check: dist
	tools/deb 1
	tools/deb 2
	tools/deb-check

# Needs buildah, podman and runc (apt-get install), and no registry.
container-check: .make/dev
	$(BIN)/python -m tests.operations.container_check

guide-check: .make/dev
	$(BIN)/python -m tests.operations.guide_walk
	$(BIN)/python -m tests.operations.fresh_debian

upgrade-check: .make/dev
	$(BIN)/python -m tests.operations.upgrade_check

soak: .make/dev .make/debian
	$(BIN)/python -m tests.soak.run --kills 500 --workers 3 --seed 1
	$(BIN)/python -m tests.soak.powercut --messages 2000 --cuts 150 --seed 1

bench: .make/dev .make/debian
	$(BIN)/python -m bench.relay

mutation: .make/dev
	nice $(BIN)/python -m tests.mutation.run

clean:
	rm -rf .venv .make build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
