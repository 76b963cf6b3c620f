# Everything a newcomer or CI needs. `make help` lists the targets.

STRATEGY  ?= label
# Either spelling: PATH itself is the shell's.
PATH_     ?= auto
MARK_PATH ?= $(PATH_)
BENCH     ?=
SOAK_MINUTES ?= 10
FUZZ_SECONDS ?= 60
FUZZ         ?=
KERNELS   ?=
SETTINGS  ?=
ROWS      ?=
REFRESH   ?=
DOCUMENT  ?=
FAULTS    ?=

# The daemon runs on hosts without Swift: its run-time libraries go into the binary.
RELEASE := -c release --static-swift-stdlib
LINTED  := $(wildcard Sources Tests Plugins Package.swift)

.DEFAULT_GOAL := build
.PHONY: help build demo test faults lint bench soak fuzz asan tsan coverage vmtest deb rpm packagetest deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	SWIFT_BACKTRACE=enable=no MARKER_TESTS_ALONE=1 swift test --skip-build --filter StarvationLabTests

faults: ## fail each system call of start, adoption, upgrade and stop once, by strace; FAULTS='arguments of scripts/faults'
	@scripts/deps build test
	swift build --product marker
	scripts/faults $(FAULTS)

lint: ## check the format of the Swift code and the text and scripts
	swift format lint --strict -r $(LINTED)
	scripts/check-text

bench: ## print the page of figures and keep it in build/bench (root); BENCH='NAME...', BENCH='compare OLD NEW'
	@scripts/deps build
	@# The daemon as it is shipped: memory and start are others where it loads Swift's libraries.
	swift build $(RELEASE) --product marker
	swift build $(RELEASE) --product marker-bench
	@scripts/check-rewriter .build/release/marker-bench
	.build/release/marker-bench $(BENCH)

soak: ## churn of all kinds for SOAK_MINUTES=10, and what it leaves behind
	@scripts/deps build test
	swift build $(RELEASE) --product marker
	swift build $(RELEASE) --product marker-bench
	.build/release/marker-bench soak $(SOAK_MINUTES)

fuzz: ## run each fuzz target for FUZZ_SECONDS=60; FUZZ='TARGET...', FUZZ_KEEP=1 keeps the inputs found
	@scripts/deps build
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz $(FUZZ)

asan: ## run the unit tests under AddressSanitizer
	@scripts/deps build test
	scripts/sanitize address

tsan: ## run the unit tests under ThreadSanitizer
	@scripts/deps build test
	scripts/sanitize thread

coverage: ## run all tests and print the lines covered, by folder
	@scripts/deps build test
	scripts/coverage

vmtest: ## boot real kernels in qemu and try every path in each; KERNELS=5.10,7 SETTINGS=plain ROWS=auto REFRESH=1
	@scripts/deps build vmtest
	swift build $(RELEASE) --product marker
	@vmtest/run --kernels '$(KERNELS)' --settings '$(SETTINGS)' --rows '$(ROWS)' $(if $(REFRESH),--refresh) $(if $(DOCUMENT),--document)

deb: ## make build/marker_VERSION_ARCHITECTURE.deb and look at it with lintian
	@scripts/deps build package
	swift build $(RELEASE) --product marker
	packaging/deb .build/release/marker build
	lintian --fail-on error,warning build/marker_*.deb

rpm: ## make build/marker-VERSION.ARCHITECTURE.rpm and look at it with rpmlint
	@scripts/deps build package
	swift build $(RELEASE) --product marker
	packaging/rpm/build .build/release/marker build
	packaging/rpm/lint build/marker-*.rpm

packagetest: deb ## install, run, upgrade and remove the .deb on a fresh Debian 12 (root; the first run fetches it)
	@scripts/deps packagetest
	packaging/test/run build/marker_*.deb

deps: ## install by apt what build, test and demo need and this host lacks
	@scripts/deps build test demo

clean: ## remove what was built
	rm -rf .build .build-asan .build-tsan .build-coverage build
