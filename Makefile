# Short names for what is done often. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

IMAGE ?= lw-inference-proxy:latest
# The image that the Dockerfile compiles in. If it cannot be pulled, the binary is compiled outside.
BUILDER ?= rust:1.95-slim-trixie

.PHONY: help build run demo test scale soak storm bench bench-count bench-replicas fuzz venv llama mock docker compose fmt lint doc deny unused dev clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

build: ## Compile the proxy for use: bin/lw-inference-proxy
	cargo build --profile dist --locked --bin lw-inference-proxy
	install -D target/dist/lw-inference-proxy bin/lw-inference-proxy

run: ## Run the proxy on the Docker engine here, on port 8080
	cargo run --release --locked --bin lw-inference-proxy

demo: ## Run the proxy with two sample servers: no Docker, no GPU
	cargo run --release --locked --bin lw-inference-proxy -- demo

test: ## Run every test; ARGS='-E "test(drain)"' picks some
	@tests/run.sh $(ARGS)

scale: ## Thousands of clients at once; a minute
	cargo build --profile dist --locked --bin lw-inference-proxy
	LW_PROXY_BIN=target/dist/lw-inference-proxy cargo test --locked --test scale -- --ignored --nocapture --test-threads 1

soak: ## Ten minutes while backends come and go, or SOAK_SECONDS=60
	cargo build --profile dist --locked --bin lw-inference-proxy
	LW_PROXY_BIN=target/dist/lw-inference-proxy cargo test --locked --test soak -- --ignored --nocapture

storm: ## Requests of every shape from a seed: STORM_REQUESTS, STORM_SEED
	cargo build --profile dist --locked --bin lw-inference-proxy
	LW_PROXY_BIN=target/dist/lw-inference-proxy cargo test --locked --test storm -- --ignored --nocapture a_storm

bench: ## Compare with nginx and others, 10 minutes; ARGS=--write
	cargo build --profile dist --locked --bin lw-inference-proxy
	cargo run --release --locked --package bench -- compare $(ARGS)

bench-count: ## Count instructions and calls; ARGS=--short, ARGS=--write
	cargo build --profile dist --locked --bin lw-inference-proxy
	cargo run --locked --package bench -- count $(ARGS)

bench-replicas: ## Share requests among replicas; SEED, KINDS, MEMBERS=4
	cargo build --profile dist --locked --bin lw-inference-proxy
	cargo run --release --locked --package bench -- replicas --members "$(MEMBERS)" --kinds "$(KINDS)" --seed "$(or $(SEED),1)" $(ARGS)

fuzz: ## Run each fuzzer for SECONDS_EACH=60; ARGS=labels picks one
	@fuzz/run.sh $(ARGS)

venv: ## Install the Python clients that the tests use into .venv
	@tests/clients/make-venv.sh

llama: ## Build the image of a llama.cpp server that the tests use
	@tests/llama/build-image.sh

mock: ## Build the mock inference server: bin/mock-inference
	cargo build --release --locked --package mock-inference
	install -D target/release/mock-inference bin/mock-inference

docker: ## Build the proxy's image; IMAGE and BUILDER can be given
	@deploy/build-image.sh "$(IMAGE)" "$(BUILDER)"

compose: ## Parse every compose file with the compose tool
	@tests/compose/check.sh

fmt: ## Format the code
	cargo fmt --all

lint: ## Check formatting and warnings, as CI does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc: ## Build the documentation; warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

unused: ## Find dependencies that nothing uses; needs cargo-machete
	cargo machete

dev: ## The demo, started again when the code changes; needs watchexec
	watchexec --restart --watch src --watch crates --watch Cargo.toml -- cargo run --locked --bin lw-inference-proxy -- demo

deny: ## Check licenses and advisories; needs cargo-deny
	cargo deny --workspace check

clean: ## Remove what was built, but not .venv and .cache
	cargo clean
	rm -rf bin
