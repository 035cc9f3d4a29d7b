# What make promotions would be with join.py: the same make, the same pipe.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables

.PHONY: promotions
promotions:
	@kosli diff snapshots aws-beta aws-prod --output=json | $(PYTHON) bench/join.py
