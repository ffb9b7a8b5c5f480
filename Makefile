# rustup's directory, and Debian's place for lighttpd, are not in everyone's PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin

.PHONY: help demo test quick bench
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s  %s\n", $$1, $$2 }' Makefile

# Ctrl-C belongs to the demo, which ends by itself; the shell waits, so that make has nothing to report.
demo: ## a small legacy application, the proxy and a page that shows both sides
	@scripts/setup demo
	@trap : INT; cargo run --profile quick --locked -- demo || [ $$? -eq 130 ]

test: ## everything that CI runs
	@scripts/setup test
	@scripts/test

quick: ## format, lints and the tests of the library, for daily work
	cargo fmt --check
	cargo clippy --locked -- -D warnings
	cargo test --locked --lib

bench: ## measure, see benches/run
	benches/run
