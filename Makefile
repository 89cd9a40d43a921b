# Short names for what is done often. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

IMAGE ?= lw-inference-proxy:latest
# The image that the Dockerfile compiles in. Where it is not to be had, the binary is compiled outside.
BUILDER ?= rust:1-slim-trixie

.PHONY: help build run demo test scale soak bench bench-count fuzz venv llama mock docker compose fmt lint layers deny clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

build: ## Compile the proxy for use: bin/lw-inference-proxy
	cargo build --release --locked --bin lw-inference-proxy
	install -D target/release/lw-inference-proxy bin/lw-inference-proxy

run: ## Run the proxy here, on PROXY_PORT or 8080
	cargo run --bin lw-inference-proxy

demo: ## Run the proxy in front of two sample servers, without Docker or a GPU
	cargo run --bin lw-inference-proxy -- demo

test: ## Run every test; those on containers need a Docker engine. ARGS='-E "test(drain)"' picks some
	@tests/run.sh $(ARGS)

scale: ## 5,000 streams, 1,000 stalled readers, 200 uploads, 10,000 silent connections; a minute
	cargo build --release --locked --bin lw-inference-proxy
	LW_PROXY_BIN=target/release/lw-inference-proxy cargo test --locked --test scale -- --ignored --nocapture --test-threads 1

soak: ## Ten minutes of traffic while backends come and go; SOAK_SECONDS=60 is shorter
	cargo build --release --locked --bin lw-inference-proxy
	LW_PROXY_BIN=target/release/lw-inference-proxy cargo test --locked --test soak -- --ignored --nocapture

bench: ## Measure the proxy beside others, some 10 minutes; ARGS=--write writes BENCHMARKS.md and the figure
	cargo build --release --locked --bin lw-inference-proxy
	cargo run --release --locked --package bench -- compare $(ARGS)

bench-count: ## Count instructions and system calls against bench/counts.json; ARGS=--short, ARGS=--write
	cargo build --release --locked --bin lw-inference-proxy
	cargo run --locked --package bench -- count $(ARGS)

fuzz: ## Run each fuzzer for SECONDS_EACH, 60 where it is not given; needs cargo-fuzz. ARGS=labels picks one
	@fuzz/run.sh $(ARGS)

venv: ## Install the Python clients that the tests use into .venv
	@tests/clients/make-venv.sh

llama: ## Build the image of a real llama.cpp server that the tests use
	@tests/llama/build-image.sh

mock: ## Build the mock inference server: bin/mock-inference
	cargo build --release --locked --package mock-inference
	install -D target/release/mock-inference bin/mock-inference

docker: ## Build the proxy's image; IMAGE and BUILDER can be given
	@deploy/build-image.sh "$(IMAGE)" "$(BUILDER)"

compose: ## Have the compose tool read every compose file
	@tests/compose/check.sh

fmt: ## Format the code
	cargo fmt --all

lint: ## What CI refuses: unformatted code and every warning
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

layers: ## Compile each inner layer alone, with nothing but what it may use
	@tests/layers.sh

deny: ## Licences, known faults and banned crates of all dependencies; needs cargo-deny
	cargo deny --workspace check

clean: ## Remove what was built; the caches .venv and .cache stay
	cargo clean
	rm -rf bin
