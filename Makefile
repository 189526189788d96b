# Every target says what it does in one line: `make help`.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# What to serve (a path or url), where fetched tools and build results go.
REPO ?=
WORKSPACE ?=
TOOLS ?= $(or $(BAFT_TOOLS),$(CURDIR)/.tools)
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# How programs are built for this machine: quick, release or dev.
PROFILE ?= quick
UP ?=
BENCH ?=
ROUNDS ?= 200

export BAFT_TOOLS := $(TOOLS)
export DUCKDB_LIB_DIR := $(TOOLS)/libduckdb
export BAFT_NATS_SERVER := $(TOOLS)/bin/nats-server
export BAFT_NATS_SERVER_OLD := $(TOOLS)/bin/nats-server-2.10
export BAFT_LIBFAKETIME := $(TOOLS)/bin/libfaketime.so
export BAFT_PYTHON := $(TOOLS)/venv/bin/python
export BAFT_PYTHON14 := $(TOOLS)/venv14/bin/python
# Binaries find the library through their own rpath; this is for tests and for tools moved later.
export LD_LIBRARY_PATH := $(TOOLS)/libduckdb$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))

BUILD_FLAGS := --profile $(PROFILE)
OUTPUT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

##@ Use

up: prerequisites tools-run ## Run the fleet on REPO=<path or url>, or on the sample repository; UP="--once" passes options on
	@echo "up: building baft (the first time takes some minutes, then seconds)"
	@cargo build $(BUILD_FLAGS) --locked --package baft
	@echo "up: starting the fleet"
	@exec $(OUTPUT)/baft up $(if $(REPO),--repo "$(REPO)") $(if $(WORKSPACE),--workspace "$(WORKSPACE)") $(UP)

install: prerequisites tools-run ## Build the programs and link them into BIN (~/.local/bin)
	@echo "install: building"
	@cargo build $(BUILD_FLAGS) --locked --workspace --bins --exclude baft-bench --exclude baft-tests
	@mkdir -p "$(BIN)"
	@for program in baft git-sync commit-agent duckdb-importer preflight-probe session-registry; do ln -sf "$(OUTPUT)/$$program" "$(BIN)/$$program"; done
	@echo "install: baft, git-sync, commit-agent, duckdb-importer, preflight-probe and session-registry are in $(BIN)"
BIN ?= $(HOME)/.local/bin

##@ Work on it

test: prerequisites tools-test ## Build everything and run every test
	@echo "test: building the programs the tests start"
	@cargo build --locked --workspace --bins
	@echo "test: running the tests"
	@cargo test --locked --workspace --no-fail-fast $(TEST)
TEST ?=

soak: prerequisites tools-test ## Run the kill loops, and that of registries cut off, for long: ROUNDS=200
	@echo "soak: building the programs the tests start"
	@cargo build --locked --workspace --bins
	@echo "soak: $(ROUNDS) rounds of each kill loop"
	@BAFT_SOAK_ROUNDS=$(ROUNDS) cargo test --locked --package baft-tests --package baft-commit-agent --package baft-session-registry -- --include-ignored --nocapture kill cut_off

bench: prerequisites tools-test ## Measure against the baselines in the same run; BENCH="--list" shows the items
	@echo "bench: building release binaries"
	@cargo build --release --locked --workspace --bins
	@echo "bench: measuring"
	@$(TARGET)/release/baft-bench $(BENCH)

fmt: ## Format the sources
	@echo "fmt: cargo fmt"
	@cargo fmt --all

fmt-check: ## Check the format
	@echo "fmt-check: cargo fmt --check"
	@cargo fmt --all -- --check

lint: tools-run ## Check with clippy, warnings are errors
	@echo "lint: cargo clippy"
	@cargo clippy --locked --workspace --all-targets -- -D warnings

deny: tools-deny ## Check licences, versions and sources of the dependencies (and advisories where the database can be reached)
	@echo "deny: licences, duplicate versions, sources"
	@$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
	@scripts/advisories.sh $(TOOLS)/bin/cargo-deny

docs: tools-run ## Generate docs/configuration.md and docs/metrics.md from the code
	@echo "docs: writing docs/configuration.md and docs/metrics.md"
	@cargo run --locked --quiet --package baft --example gen_docs

docs-check: tools-run ## Check that generated documents are current, links resolve, and flags and targets exist
	@echo "docs-check: generated documents"
	@cargo run --locked --quiet --package baft --example gen_docs -- --check
	@echo "docs-check: links, flags, variables, make targets"
	@python3 scripts/check_docs.py

ci: ## Everything continuous integration checks
	@.ci/run

##@ Tools

tools: prerequisites ## Fetch every pinned tool into TOOLS (.tools)
	@scripts/tools.py

tools-run: ## Fetch what building and running needs
	@scripts/tools.py run

tools-test: ## Fetch what testing and measuring needs
	@scripts/tools.py run test

tools-deny: ## Fetch cargo-deny
	@scripts/tools.py deny

prerequisites:
	@scripts/prerequisites.sh

help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: up install test soak bench fmt fmt-check lint deny docs docs-check ci tools tools-run tools-test tools-deny prerequisites help
