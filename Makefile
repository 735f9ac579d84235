# make help lists the targets. .ci/run is what has to pass before a change
# lands: make check with the servers of other majors where they can be had.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build man test lint layers fmt fmt-check vet deployments check demo site reference chaos differ matrix bench release-check release-snapshot reproduce clean postgres race-compiler

# The version of the linter; it is built once into .cache/bin.
LINT_VERSION := v2.15.0
LINT := .cache/bin/golangci-lint-$(LINT_VERSION)
# Those of the programs that make a release; they are built once into .cache/bin, too. deployments/check has the types of
# the same goreleaser.
GORELEASER := .cache/bin/goreleaser-v2.15.1
SBOM := .cache/bin/cyclonedx-gomod-v1.10.0
# How long the tests of one package may take. Many of them wait for leases and faults, so four run at once.
TEST_TIMEOUT ?= 30m
# What go test tests, and further flags: make test PKG=./internal/plan/... TESTFLAGS='-run Hash -v'
PKG ?= ./...
TESTFLAGS ?=
# make chaos and make differ: how many seeds, the first of them, and how many at a time. A run mostly waits.
SEEDS ?= 100
SEED ?= 1
PARALLEL ?= 4

# make differ: between which majors, the machine's own unless they are given.
FROM ?=
TO ?=
# make matrix: which copies between majors.
PAIRS ?= 13-18 14-14 14-17 15-15 15-16 15-18 16-18 17-17 18-18

# make bench: which benchmarks (make bench BENCH=Copy/skew).
BENCH ?= .

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/planner and bin/worker, both static
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

man: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
man: build ## write manual pages to bin/man, and completions for shells to bin/completions
	@rm -rf bin/man bin/completions
	PGCONVOY_TEST_MAN=$(CURDIR)/bin/man go test -count 1 -run '^TestManPages$$' ./cmd/...
	@mkdir -p bin/completions
	@for command in planner worker; do for shell in bash zsh fish; do bin/$$command completion $$shell >bin/completions/$$command.$$shell; done; done

test: postgres race-compiler ## run all tests with the race detector, on PostgreSQL servers that they start themselves
	go test -race -timeout $(TEST_TIMEOUT) -parallel 4 $(TESTFLAGS) $(PKG)

lint: $(LINT) ## run golangci-lint, the import rules of the layers among it
	$(LINT) run ./...

layers: $(LINT) ## check only which package imports which
	$(LINT) run --enable-only depguard ./...

fmt: $(LINT) ## format the Go files and their imports
	$(LINT) fmt ./...

vet: ## run go vet
	go vet ./...

deployments: postgres ## check the files of deployments/, and .goreleaser.yaml, against the types of their platforms, and run what can run here
	@scripts/check-deployments

check: ## all that has to pass before a change lands: format, vet, lint, layers, build, deployments, tests, site of the documents, demo
	@scripts/steps fmt-check vet build lint deployments test site demo

demo: build ## copy a sample database between two throwaway clusters and prove that the copy is equal
	@scripts/demo

site: ## build the site of the documents into dist/site, and check every link of it
	@go run ./internal/docs/site

reference: ## write what the code says into docs/reference
	PGCONVOY_TEST_WRITE_REFERENCE=1 go test -count 1 -run '^TestReference$$' ./internal/docs

chaos: postgres ## break runs of processes at random: make chaos SEEDS=500 SEED=1 (the first seed)
	PGCONVOY_TEST_CHAOS_SEEDS=$(SEEDS) PGCONVOY_TEST_CHAOS_SEED=$(SEED) PGCONVOY_TEST_CHAOS_POINTS=20 go test -v -count 1 -timeout 12h -parallel $(PARALLEL) $(TESTFLAGS) ./internal/chaos

differ: postgres ## copy databases drawn at random, with pg_dump and with us: make differ SEEDS=300 SEED=1 FROM=14 TO=18
	PGCONVOY_TEST_DIFFER_SEEDS=$(SEEDS) PGCONVOY_TEST_DIFFER_SEED=$(SEED) PGCONVOY_TEST_DIFFER_FROM=$(FROM) PGCONVOY_TEST_DIFFER_TO=$(TO) go test -v -count 1 -run TestDiffer -timeout 12h -parallel $(PARALLEL) $(TESTFLAGS) ./internal/differ

matrix: export PGCONVOY_TEST_MATRIX := $(PAIRS)
matrix: export PGCONVOY_TEST_MAJORS := $(sort $(subst -, ,$(PAIRS)))
matrix: postgres ## copy museum and sample between majors: make matrix PAIRS="13-18 17-17"
	scripts/get-postgres server $(PGCONVOY_TEST_MAJORS)
	scripts/get-postgres client 17 18
	go test -v -count 1 -run '^TestMatrix$$' -timeout 1h -parallel 2 $(TESTFLAGS) ./internal/run

bench: export PATH := $(CURDIR)/.cache/postgres/pgcopydb/bin:$(PATH)
bench: postgres ## measure copies against the peers that are here, workers behind narrow links, and the hot paths
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 4h ./bench/...
	go test -run '^$$' -bench '$(BENCH)' -benchtime 5x -benchmem -timeout 30m ./internal/pg ./internal/tasks ./internal/plan ./internal/queue ./internal/ledger

release-check: $(GORELEASER) ## check the configuration of a release
	$(GORELEASER) check

release-snapshot: export PATH := $(CURDIR)/.cache/bin:$(PATH)
release-snapshot: $(GORELEASER) $(SBOM) ## make archives, packages and SBOMs in dist, and publish nothing
	ln -sf $(notdir $(SBOM)) .cache/bin/cyclonedx-gomod
	$(GORELEASER) release --snapshot --clean

reproduce: ## build the last commit twice, in different folders, and compare
	@scripts/reproduce

clean: ## remove what builds, tests and downloads left (bin, dist, .cache)
	rm -rf bin dist .cache

# What follows is for the targets above.

fmt-check:
	@unformatted=$$(go list -f '{{.Dir}}' ./... | xargs gofmt -l | sort -u); \
	if [[ -n $$unformatted ]]; then echo "gofmt would change these files (make fmt):"; echo "$$unformatted"; exit 1; fi

postgres:
	@scripts/get-postgres default

race-compiler:
	@command -v "$$(go env CC | cut -d ' ' -f 1)" >/dev/null || \
		{ echo "make: the race detector needs a C compiler: apt-get install gcc libc6-dev" >&2; exit 1; }

$(LINT):
	@mkdir -p .cache/bin
	@installed=$$(go env GOPATH)/bin/golangci-lint; \
	if go version -m "$$installed" 2>/dev/null | grep -qw "mod.*golangci-lint/v2.*$(LINT_VERSION)"; then \
		cp "$$installed" $@; \
	else \
		echo "building golangci-lint $(LINT_VERSION), once; this takes some minutes"; \
		GOBIN=$(CURDIR)/.cache/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION); \
		mv .cache/bin/golangci-lint $@; \
	fi

$(GORELEASER): TOOL := github.com/goreleaser/goreleaser/v2
$(SBOM): TOOL := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(GORELEASER) $(SBOM):
	@echo "building $(notdir $@), once; this takes some minutes"
	GOBIN=$(CURDIR)/.cache/bin/new go install $(TOOL)@$(lastword $(subst -, ,$@))
	mv .cache/bin/new/* $@
