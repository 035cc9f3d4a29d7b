SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.NOTPARALLEL:

# A value from make's command line is a value: it is not expanded, as make would. The name of the loops' own variable is
# no exception.
override each :=
override GIVEN := $(foreach each,$(.VARIABLES),$(if $(findstring command line,$(origin $(each))),$(each)))
$(foreach each,$(GIVEN),$(eval override $(each) := $$(value $(each)))$(eval export $(each)))

ifneq (,$(filter 3.%,$(MAKE_VERSION)))
$(error GNU make 4 or newer is needed, this is $(MAKE_VERSION): on a Mac, brew install make, then call gmake)
endif

SETTINGS := FROM_ENV TO_ENV SNAPSHOTS FLOWS MATCH_BY UNPROVEN ALLOW_RENAMED

# The two environments. Every other setting passes through the environment as it is: the README lists them.
export FROM_ENV := $(or $(value FROM_ENV),$(value KOSLI_AWS_BETA),aws-beta)
export TO_ENV := $(or $(value TO_ENV),$(value KOSLI_AWS_PROD),aws-prod)

# With -C, make says on stdout where it is. Before 4.4 it can be kept from that only so: it collects what a recipe says,
# and has then nothing to say beside it, except for recipes that begin with + and speak for themselves.
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

# What `make -n` prints can be pasted anywhere: it goes to this folder, and sets what the pipe reads.
ifneq (,$(findstring n,$(SHORT_FLAGS)))
$(info cd $(call quoted,$(CURDIR)))
$(foreach each,$(sort FROM_ENV TO_ENV $(filter-out %_TOKEN,$(GIVEN))),$(info export $(each)=$(call quoted,$(value $(each)))))
endif

##@ The release

.PHONY: demo
demo: .venv/.stamp ## a whole release on a stand-in Kosli: no account, no network; DEMO_YES=1 approves it
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

.PHONY: gate
gate: .venv/.stamp ## two verdicts a promotion: in FROM_ENV and for TO_ENV
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/gate.py "$$FROM_ENV" "$$TO_ENV"

.PHONY: attest
attest: .venv/.stamp ## record the release in RELEASE_TRAIL of RELEASE_FLOW; with REFUSED, that it was refused
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/attest.py

.PHONY: recheck
recheck: .venv/.stamp ## what is left to do of the release in the file APPROVED
	$(AT)FROM_ENV="$${FROM_ENV%%[#~@]*}" TO_ENV="$${TO_ENV%%[#~@]*}" $(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/recheck.py "$${APPROVED-}"

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

.PHONY: rollback
rollback: .venv/.stamp ## the inverse release: what the release replaces comes back
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/rollback.py

.PHONY: kosli-setup
kosli-setup: .venv/.stamp ## create the release flow, the type promotion and, if named, RELEASE_TRAIL
	$(AT)$(PYTHON) scripts/kosli_setup.py

.PHONY: github-output
github-output: .venv/.stamp ## the release for the next jobs of a workflow, into the file GITHUB_OUTPUT
	$(AT)$(PYTHON) scripts/snapshots.py | $(PYTHON) scripts/promotions.py | $(PYTHON) scripts/github_output.py

##@ The project

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@printf '\nSettings, from the environment or as make NAME=value: %s\n' "$(SETTINGS)"

.PHONY: test
test: .venv/.stamp-act ## all tests; K="level or gate" limits them, as pytest -k does
	@$(PYTHON) -m pytest --numprocesses auto $${K:+-k "$$K"}

.PHONY: rehearse
rehearse: .venv/.stamp-act ## the workflows, run by act against the stand-in
	@$(PYTHON) -m pytest --numprocesses auto --quiet tests/test_rehearsal.py tests/test_workflows.py

.PHONY: goldens
goldens: .venv/.stamp-dev ## write the golden cases' expected output anew; read the diff. CASE=promotions/level: only that one
	@$(PYTHON) -m pytest --quiet --numprocesses auto --tb=no --snapshot-update "tests/test_cases.py$${CASE:+::test_case[$$CASE]}" || true
	@$(PYTHON) -m pytest --quiet --numprocesses auto "tests/test_cases.py$${CASE:+::test_case[$$CASE]}"

.PHONY: lint
lint: .venv/.stamp-dev ## the linters
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/shellcheck --shell=bash .ci/run fixtures/use-world $$(grep --recursive --files-with-matches '^#!.*bash' tests/rehearsal)
	@.venv/bin/zizmor --offline --persona=pedantic --quiet .github
	@PATH=".venv/bin:$$PATH" .venv/bin/actionlint
	@$(PYTHON) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(PYTHON) -m check_jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml

.PHONY: bench
bench: .venv/.stamp ## what it costs, beside what it is compared with; BENCH="10 1000" limits the sizes
	@$(PYTHON) bench/bench.py --json bench/results.json $${BENCH-}

.PHONY: mutants
mutants: .venv/.stamp-dev ## change each rule of the decision code, and show that a test notices
	@$(PYTHON) tests/mutants.py

.PHONY: clean
clean: ## remove all that make and the tests have built
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results.json
	@find bench scripts tests fixtures -name __pycache__ -prune -exec rm -rf {} +

# Always asked, and mostly done at once: only the script knows whether the environment still stands.
.venv/.stamp: requirements.txt FORCE
	$(AT)$(BASE_PYTHON) scripts/lib/build_venv.py $< $@

.venv/.stamp-dev: requirements-dev.txt .venv/.stamp
	$(AT)$(BASE_PYTHON) scripts/lib/build_venv.py $< $@

.venv/.stamp-act: requirements-act.txt .venv/.stamp-dev
	$(AT)$(BASE_PYTHON) scripts/lib/build_venv.py $< $@

.PHONY: FORCE
FORCE:
