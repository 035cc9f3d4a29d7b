SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.NOTPARALLEL:

# make would expand $(...) in a value from its command line, and so run what is in it. This keeps each value as it is, also
# one that is named like the loop's own variable.
override each :=
override GIVEN := $(foreach each,$(.VARIABLES),$(if $(findstring command line,$(origin $(each))),$(each)))
$(foreach each,$(GIVEN),$(eval override $(each) := $$(value $(each)))$(eval export $(each)))

ifneq (,$(filter 3.%,$(MAKE_VERSION)))
$(error GNU make 4 or newer is needed, this is $(MAKE_VERSION): on a Mac, brew install make, then call gmake)
endif

# The scripts refuse a name that nothing reads: a misspelt FLOWS must not promote everything.
export NAMES_GIVEN_TO_MAKE := $(GIVEN)

# A script that fails says why. The next ones in its pipe then read nothing, and fail without a second line.
export PIPED_BY_MAKE := yes

# With -C, make prints the folder's name on stdout, beside the JSON. Before 4.4 only --output-sync stops that. It also holds
# back what a recipe prints, unless the recipe begins with +.
AT := @
SHORT_FLAGS := $(filter-out -%,$(firstword $(MAKEFLAGS)))
ifneq (,$(and $(findstring w,$(SHORT_FLAGS)),$(if $(findstring n,$(SHORT_FLAGS)),,yes)))
MAKEFLAGS += --no-print-directory --jobs=2 --output-sync=target
AT := +@
endif

BASE_PYTHON ?= python3
PYTHON := .venv/bin/python
QUOTE := '
quoted = $(QUOTE)$(subst $(QUOTE),$(QUOTE)\$(QUOTE)$(QUOTE),$(1))$(QUOTE)

# What `make -n` prints can be pasted in any folder: it begins with a cd into this one, and sets what the pipe reads.
ifneq (,$(findstring n,$(SHORT_FLAGS)))
$(info cd $(call quoted,$(CURDIR)))
$(foreach each,$(sort $(filter-out %_TOKEN %_SECRET,$(GIVEN))),$(info export $(each)=$(call quoted,$(value $(each)))))
endif

##@ The release

.PHONY: demo
demo: .venv/.stamp ## a whole release on a Kosli that runs on this machine: no account, no network; DEMO_YES=1 approves it
	$(AT)$(PYTHON) scripts/demo.py

.PHONY: snapshots
snapshots: .venv/.stamp ## the diff between FROM_ENV and TO_ENV, as Kosli gave it
	$(AT)$(PYTHON) scripts/snapshots.py

.PHONY: in-progress
in-progress: .venv/.stamp ## the deployments in progress; fails when there are any
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/in_progress.py

.PHONY: promotions
promotions: .venv/.stamp ## the release: what runs in FROM_ENV and not in TO_ENV, and what it replaces
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py

.PHONY: changes
changes: .venv/.stamp ## the commits between outgoing and incoming; refuses an incoming one that is older, or on no branch
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/changes.py

.PHONY: holds
holds: .venv/.stamp ## what is held for a time (holds.toml), and what has expired
	$(AT)$(PYTHON) scripts/holds.py

.PHONY: gate
gate: .venv/.stamp ## two verdicts on each promotion: is it compliant in FROM_ENV, and for TO_ENV?
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/gate.py

.PHONY: attest
attest: .venv/.stamp ## record the release in RELEASE_TRAIL of RELEASE_FLOW; with REASONS=FILE, that it was refused
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/attest.py

.PHONY: recheck
recheck: .venv/.stamp ## what is left to do of the release in the file APPROVED
	$(AT)$(PYTHON) scripts/snapshots.py --latest | $(PYTHON) scripts/recheck.py "$${APPROVED-}"

.PHONY: verify
verify: .venv/.stamp ## ask until TO_ENV runs exactly the release in the file APPROVED
	$(AT)$(PYTHON) scripts/verify.py "$${APPROVED-}"

.PHONY: summary
summary: .venv/.stamp ## the release for a person, as Markdown
	$(AT)diff=$$(mktemp); trap 'rm -f "$$diff"' EXIT; \
	$(PYTHON) scripts/snapshots.py | tee "$$diff" | $(PYTHON) scripts/promotions.py | SNAPSHOTS="$$diff" $(PYTHON) scripts/summary.py

.PHONY: report
report: .venv/.stamp ## the same page as one HTML file
	$(AT)diff=$$(mktemp); trap 'rm -f "$$diff"' EXIT; \
	$(PYTHON) scripts/snapshots.py | tee "$$diff" | $(PYTHON) scripts/promotions.py | SNAPSHOTS="$$diff" $(PYTHON) scripts/report.py

.PHONY: evidence
evidence: .venv/.stamp ## a release's files and their checksums, in the folder EVIDENCE
	$(AT)$(PYTHON) scripts/evidence.py "$${EVIDENCE:-evidence}" $${APPROVED:+"$$APPROVED"} $${SNAPSHOTS:+"$$SNAPSHOTS"} \
	  $${VERDICTS:+"$$VERDICTS"} $${CHANGES:+"$$CHANGES"} $${OUTCOMES:+"$$OUTCOMES"}

.PHONY: rollback
rollback: .venv/.stamp ## the inverse release: what the release replaces comes back
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/rollback.py

.PHONY: doctor
doctor: .venv/.stamp ## what is still missing before a release, and how to get it; changes nothing
	$(AT)$(PYTHON) scripts/doctor.py

.PHONY: kosli-setup
kosli-setup: .venv/.stamp ## create the release flow, the type promotion and, if named, RELEASE_TRAIL
	$(AT)$(PYTHON) scripts/kosli_setup.py

.PHONY: github-output
github-output: .venv/.stamp ## the release for the next jobs of a workflow, into the file GITHUB_OUTPUT
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/github_output.py

##@ The project

.PHONY: help
help: .venv/.stamp ## this list, and every setting
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@$(PYTHON) scripts/settings.py --help-for-make

.PHONY: settings
settings: .venv/.stamp ## the settings in force, as JSON; refuses an unknown name or key
	$(AT)$(PYTHON) scripts/settings.py

.PHONY: known-names
known-names: .venv/.stamp
	@$(PYTHON) scripts/settings.py >/dev/null

.PHONY: test
test: known-names .venv/.stamp-act kosli/node_modules/.package-lock.json ## all tests; K="level or gate" limits them, as pytest -k does
	@$(PYTHON) -m pytest --numprocesses auto $${K:+-k "$$K"}

.PHONY: rehearse
rehearse: known-names .venv/.stamp-act kosli/node_modules/.package-lock.json ## the workflows, run by act against a Kosli on this machine
	@$(PYTHON) -m pytest --numprocesses auto --quiet tests/test_rehearsal.py tests/test_workflows.py

.PHONY: goldens
goldens: known-names .venv/.stamp-dev kosli/node_modules/.package-lock.json ## write the golden cases' expected output anew; read the diff. CASE=promotions/level: only that one
	@$(PYTHON) -m pytest --quiet --numprocesses auto --tb=no --snapshot-update "tests/test_cases.py$${CASE:+::test_case[$$CASE]}" || true
	@$(PYTHON) -m pytest --quiet --numprocesses auto "tests/test_cases.py$${CASE:+::test_case[$$CASE]}"

.PHONY: lint
lint: known-names .venv/.stamp-dev ## the linters
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/shellcheck --shell=bash .ci/run fixtures/use-service fixtures/build-of-saver fixtures/demo/begin $$(grep --recursive --files-with-matches '^#!.*bash' tests/rehearsal)
	@.venv/bin/zizmor --offline --persona=pedantic --quiet .github action.yml
	@PATH=".venv/bin:$$PATH" .venv/bin/actionlint
	@$(PYTHON) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(PYTHON) -m check_jsonschema --builtin-schema vendor.github-actions action.yml .github/actions/*/action.yml

.PHONY: reference
reference: known-names .venv/.stamp ## write docs/reference.md anew, from what the project says of itself
	@PYTHONPATH=scripts $(PYTHON) docs/reference.py

.PHONY: bench
bench: known-names .venv/.stamp ## how fast it is, beside what it is compared with; BENCH="10 1000" limits the sizes
	@$(PYTHON) bench/bench.py $${BENCH-}

.PHONY: mutants
mutants: known-names .venv/.stamp-dev ## change each rule of the decision code, and show that a test notices
	@$(PYTHON) tests/mutants.py

.PHONY: clean
clean: ## remove all that make and the tests have built
	@rm -rf .venv kosli/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find bench scripts tests fixtures -name __pycache__ -prune -exec rm -rf {} +

# Kosli's CLI. Where it cannot be had, the tests that need it skip, and the others run a thin client in its place.
kosli/node_modules/.package-lock.json: kosli/package-lock.json
	@npm ci --prefix kosli --no-audit --no-fund >&2 || echo "Kosli's CLI is not installed: its tests skip" >&2

# Runs each time, and mostly has nothing to do: only the script knows whether the environment is still good.
.venv/.stamp: requirements.txt FORCE
	$(AT)$(BASE_PYTHON) -S scripts/lib/build_venv.py $< $@

.venv/.stamp-dev: requirements-dev.txt .venv/.stamp
	$(AT)$(BASE_PYTHON) -S scripts/lib/build_venv.py $< $@

.venv/.stamp-act: requirements-act.txt .venv/.stamp-dev
	$(AT)$(BASE_PYTHON) -S scripts/lib/build_venv.py $< $@

.PHONY: FORCE
FORCE:
