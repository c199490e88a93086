# Every task, for people and for CI. Each sets up what it needs in .tools/ and says what it installs; none needs root.
.DEFAULT_GOAL := help
.PHONY: help demo test test-python test-node test-c conformance mutants simulate simulate-mutants histories growth lint bench bench-python bench-node bench-c install-c packages advisories clean

SERVER ?= $(FAILSOFT_SERVER)
ARGS ?=
NODE ?=
TARGET ?=
PREFIX ?= /usr/local
SEEDS ?= 10000
START ?= 0
JOBS ?= 1
export SERVER

help: ## these lines
	@echo "Failsoft: reads from a Redis or Valkey Cluster that degrade and never fail"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  SERVER=       valkey-9.1 (default), redis-7.0 (on PATH), valkey-8.1, redis-8.2, redis-6.2 or a path; test, conformance: also all"
	@echo "  ARGS=         goes to the program, e.g. make demo ARGS='--seconds 20 --json'"
	@echo "  SEEDS=, START=, JOBS=   how many seeds are simulated (10000), the first (0), threads (1); ARGS=--trace shows one whole run"

demo: ## a real local cluster under load, broken in every way, while every read is served
	@scripts/with-server cargo run --release --locked -p failsoft-cli -- demo $(ARGS)

test: ## every test and the conformance suite; clusters on Valkey 9.1, and on Redis 7.0 if it is on PATH
	@scripts/test

test-python: ## the Python package alone: its types, its tests, its examples
	@scripts/with-server scripts/test-python

test-c: ## the C library alone: its header, its tests under AddressSanitizer and valgrind too, its examples
	@scripts/with-server scripts/test-c

test-node: ## the npm package alone: its types, its tests, its examples; NODE=22 or =24: on that Node
	@NODE_TESTED=$(NODE) scripts/with-server scripts/test-node $(ARGS)

conformance: ## every scenario against every binding, as a table
	@scripts/conformance $(ARGS)

mutants: ## shows that the tests can fail: each wrong behaviour of tests/mutants is caught
	@scripts/mutants $(ARGS)

simulate: ## the policy in virtual time against a cluster that fails and splits; the last line says how many seeds failed
	@cargo run --quiet --locked -p failsoft-simulator -- --seeds $(SEEDS) --start $(START) --jobs $(JOBS) $(ARGS)

simulate-mutants: ## shows that the simulator can fail: how many seeds each wrong behaviour takes
	@scripts/mutants --by simulator $(ARGS)

histories: ## real processes on a real cluster that fails: is what they read as fresh as promised; ARGS='--operations 1000000 --seed 7', ARGS=killed-writers
	@scripts/with-server scripts/histories $(ARGS)

growth: ## what fleets of routers cost large clusters; ARGS=measure: what their questions cost a real server
	@scripts/with-server cargo run --release --quiet --locked -p failsoft-growth -- $(ARGS)

lint: ## format, clippy, documentation, layering, oldest compiler, licences, scripts
	@scripts/lint

bench: ## Failsoft and its peers side by side in one run
	@scripts/with-server cargo run --release --locked -p failsoft-bench --bin failsoft-bench -- $(ARGS)

bench-python: ## CPU for each read beside other Python clients in one run; ARGS=near: what a near hit costs
	@scripts/with-server scripts/bench-python $(ARGS)

bench-c: ## CPU for each read through the C library beside Rust in one run
	@scripts/with-server scripts/bench-c $(ARGS)

install-c: ## the C library into PREFIX= (/usr/local), under DESTDIR= if that is set
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install-c

bench-node: ## CPU for each read beside other Node clients in one run; ARGS=outages: outage times; ARGS=near: what a near hit costs
	@scripts/with-server scripts/bench-node $(ARGS)

packages: ## dist/: the Python wheel and its sources, the npm package, the C library; TARGET=: for other platforms
	@scripts/packages $(TARGET)

advisories: ## known security holes in the dependencies (fetches the advisory database)
	@scripts/set-up cargo-deny
	@.tools/bin/cargo-deny --all-features --locked check advisories

clean: ## removes what was built and set up
	cargo clean
	rm -rf dist
	rm -rf .tools node/node_modules bench/node/node_modules node/*.node
