# Every target is one line of help; `make check` is what CI runs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go
TOOL := $(GO) tool -modfile=tools.mod
FUZZTIME ?= 5s
export CGO_ENABLED ?= 0

.PHONY: help build check test lint fuzz bench hop reliability golden vuln deps

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build bin/palisade, static
	$(GO) build -trimpath -o bin/palisade ./cmd/palisade

check: lint test fuzz vuln ## all that CI runs

deps: ## install what tests need (Debian packages)
	@scripts/deps.sh

# Packages whose tests start fleets of processes or crowds of attackers, one after another so that they do not wait for each other. What breaks
# things on purpose (app/reliability) watches processes alone: the race detector would see nothing there.
FLEETS := ./app ./app/mesh ./bench ./bus ./cmd/palisade ./control ./proxy/hostile
REST = $(shell $(GO) list ./... | grep -vE '/(app|app/mesh|app/reliability|bench|bus|cmd/palisade|control|proxy/hostile)$$')

# Starts the program two hundred times, each for one verb that does one thing: what the race detector would see there is not worth four times
# the work. It watches the same verbs wherever processes of a fleet speak to each other.
ONESHOT := ^TestScripts$$

# The race detector lets a process sleep for a second at its end, and tests start thousands.
test: export GORACE := atexit_sleep_ms=0
test: deps ## all tests, with the race detector
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 40m $(REST)
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 40m -p 1 -skip '$(ONESHOT)' $(FLEETS)
	$(GO) test -timeout 40m -run '$(ONESHOT)' ./cmd/palisade
	$(GO) test -timeout 40m ./app/reliability
	$(GO) test -timeout 20m -run TestCoreRuleSet ./proxy/filter/waf ./proxy/gate
	@scripts/pkcs11.sh

lint: ## vet, formatting and static checks
	$(GO) vet ./...
	$(TOOL) golangci-lint run ./...

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

vuln: ## known vulnerabilities, where the data can be had
	@scripts/vuln.sh

bench: ## end to end, side by side with peers; see docs/performance.md
	@scripts/bench.sh
	@scripts/bench-control.sh
	@scripts/bench-events.sh

hop: ## one hop of the mesh beside nginx and HAProxy; see docs/performance.md
	@scripts/bench-hop.sh

reliability: deps ## everything that breaks, long form; writes docs/reliability.md
	$(GO) test -count=1 -v -timeout 170m ./app/reliability -long -spell 10s -workloads 10000 -kills 200 -update

golden: ## rewrite golden files after a change that means to
	$(GO) test ./model ./event ./export ./topology/draw ./learn/drift ./sink/... -update
