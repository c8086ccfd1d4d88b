# `make` prints what there is. Everything works in a fresh clone; what is missing is installed or explained.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where rustup puts cargo, for shells that do not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO ?= cargo
# Tools that are built or installed once and shared by all clones.
export CHATHOOKS_CACHE ?= $(HOME)/.cache/chathooks
# The newest that the toolchain of rust-toolchain.toml builds.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CHATHOOKS_CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
ADVISORIES := https://github.com/RustSec/advisory-db

PREPARE := tests/scripts/prepare.sh

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the release binary, target/release/chathooks
	@$(PREPARE) rust
	$(CARGO) build --locked --release

.PHONY: demo
demo: ## see events delivered, retried and verified, with nothing else installed
	@$(PREPARE) rust
	$(CARGO) run --locked --quiet -- demo $(ARGS)

.PHONY: cluster
cluster: ## start a local control plane with chathooks on it, and say what to try
	@$(PREPARE) rust
	@tests/cluster/up.sh

.PHONY: cluster-down
cluster-down: ## end what `make cluster` started
	@tests/cluster/down.sh

.PHONY: test
test: ## run every test (or some: ARGS='--test it operator::speed -- --nocapture')
	@$(PREPARE) rust
	@CHATHOOKS_TEST_PYTHON="$$($(PREPARE) python)"; \
	CHATHOOKS_TEST_HELM="$$($(PREPARE) helm)"; \
	CHATHOOKS_TEST_OPEN_WEBUI="$$($(PREPARE) open_webui)"; \
	CHATHOOKS_TEST_CONTROL_PLANE="$$($(PREPARE) control_plane)"; \
	export CHATHOOKS_TEST_PYTHON CHATHOOKS_TEST_HELM CHATHOOKS_TEST_OPEN_WEBUI CHATHOOKS_TEST_CONTROL_PLANE; \
	echo '== test: building and running all tests'; \
	$(CARGO) test --locked --no-fail-fast $(ARGS)

.PHONY: lint
lint: ## check format, lints and dependencies
	@$(PREPARE) rust
	@echo '== lint: format'
	@$(CARGO) fmt --check
	@echo '== lint: clippy'
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@$(CARGO) clippy --locked --test cluster -- -D warnings
	@$(MAKE) --no-print-directory lint-dependencies

.PHONY: lint-dependencies
lint-dependencies: $(CARGO_DENY) # bans, licences and sources; advisories where their database can be reached
	@echo '== lint: dependencies'
	@$(CARGO_DENY) --locked check bans licenses sources
	@if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet $(ADVISORIES) HEAD >/dev/null 2>&1; \
	then $(CARGO_DENY) --locked check advisories; \
	else echo 'advisories not checked: $(ADVISORIES) cannot be reached from here'; fi

# Unoptimised: it runs for a second and builds for minutes.
$(CARGO_DENY):
	@echo '== building cargo-deny $(CARGO_DENY_VERSION), once for all clones; this takes some minutes'
	@env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	  $(CARGO) install --quiet --locked --root '$(CHATHOOKS_CACHE)/cargo-deny-$(CARGO_DENY_VERSION)' cargo-deny@$(CARGO_DENY_VERSION)

.PHONY: generate
generate: ## write crds/, and what charts/ and docs/ take from the Rust code
	@$(PREPARE) rust
	@$(CARGO) build --locked --quiet
	@mkdir -p crds && rm -f crds/*.yaml
	@$(CARGO) run --locked --quiet -- crds | awk -v dir=crds -f tests/scripts/split_crds.awk
	@rm -f charts/chathooks-crds/templates/*.yaml
	@for crd in crds/*.yaml; do \
	  sed 's|^metadata:$$|&\n  annotations:\n    helm.sh/resource-policy: keep|' "$$crd" >"charts/chathooks-crds/templates/$${crd##*/}"; \
	done
	@$(CARGO) run --locked --quiet -- chart-rbac >charts/chathooks/files/rbac.yaml
	@$(CARGO) run --locked --quiet -- docs api >docs/api.md
	@$(CARGO) run --locked --quiet -- docs conditions >docs/conditions.md

GENERATED := crds charts docs/api.md docs/conditions.md

.PHONY: check-generated
check-generated: generate ## fail when crds/, charts/ or docs/ are not what the Rust code says
	@changes="$$(git status --porcelain -- $(GENERATED))"; \
	if [[ -n "$$changes" ]]; then \
	  git --no-pager diff -- $(GENERATED); \
	  printf '%s\n' "$$changes" 'these files are not what the Rust code says: run `make generate` and commit the result' >&2; \
	  exit 1; \
	fi

.PHONY: bench
bench: ## measure throughput and latency beside nginx (ARGS='--shape single --write docs/benchmarks.md')
	@$(PREPARE) rust nginx
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench throughput -- $(ARGS)

.PHONY: recording
recording: ## record the event fixtures again, from a real Open WebUI
	tests/recording/record.sh $(ARGS)

.PHONY: clean
clean: ## remove what was built here; the shared tools stay in the cache folder
	$(CARGO) clean
