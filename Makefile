# Everything a newcomer or CI needs. `make help` lists the targets.

STRATEGY  ?= label
# Either spelling: PATH itself is the shell's.
PATH_     ?= auto
MARK_PATH ?= $(PATH_)
BENCH     ?=
FAULTS    ?=

# The daemon runs on hosts without Swift: its run-time libraries go into the binary.
RELEASE := -c release --static-swift-stdlib
LINTED  := $(wildcard Sources Tests Plugins Package.swift)

.DEFAULT_GOAL := build
.PHONY: help build demo test faults lint bench deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## (default) build the release binary, .build/release/marker
	@scripts/deps build
	swift build $(RELEASE) --product marker

demo: ## mark real packets in a private lab and judge the capture; STRATEGY=label|dscp MARK_PATH=auto|tc|nft|raw|xdp KEEP=1
	@scripts/deps build demo
	swift build $(RELEASE) --product marker
	@demo/run --strategy '$(STRATEGY)' --path '$(MARK_PATH)'

# A crashing test would otherwise wait in the interactive backtracer.
test: ## lint, build and run all tests (the lab tests need root)
	@scripts/deps build test
	@$(MAKE) --no-print-directory lint
	swift build --build-tests
	SWIFT_BACKTRACE=enable=no swift test --skip-build

faults: ## fail each system call of start, adoption and stop once, by strace; FAULTS='arguments of scripts/faults'
	@scripts/deps build test
	swift build --product marker
	scripts/faults $(FAULTS)

lint: ## check the format of the Swift code and the text and scripts
	swift format lint --strict -r $(LINTED)
	scripts/check-text

bench: ## build and run the benchmarks; BENCH='arguments'
	@scripts/deps build
	swift build -c release --product marker-bench
	.build/release/marker-bench $(BENCH)

deps: ## install by apt what build, test and demo need and this host lacks
	@scripts/deps build test demo

clean: ## remove what was built
	rm -rf .build
