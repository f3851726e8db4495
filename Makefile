# The two commands that matter: `make demo` shows tenement at work on a throwaway host, `make test` proves
# it. Both install with apt what they miss, and say so. CARGO_TARGET_DIR is honoured.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export TENEMENT_DEB_DIR ?= $(CARGO_TARGET_DIR)/deb

# One bar of progress for each long step, so that a silent machine isn't mistaken for a stuck one.
step = @printf '\n=== %s (%s)\n' "$(1)" "$$(date +%H:%M:%S)"

.PHONY: help demo test check fmt clippy unit deny e2e bench dashboard dashboard-check deb rpm lint apps fuzz need-root setup setup-host clean

help:
	@echo 'make demo [CHECK=1] [SUITE=trixie]  build, boot a throwaway host, wake and sleep instances'
	@echo 'make test      everything: check, package, end to end on Debian 12 and 13, a small VM run'
	@echo 'make check     format, clippy, licences, unit tests (with the floor and file-size tests)'
	@echo 'make bench     figures beside those of peers; appended to target/bench/results.jsonl'
	@echo 'make fuzz      each fuzz target for FUZZ_SECONDS (20); a crash is kept in agent/fuzz/artifacts'
	@echo 'make dashboard dashboard/dist, which the agent that is compiled next serves'
	@echo 'make deb       target/deb/tenement_*.deb;  make rpm: target/rpm/;  make lint: lintian'

demo: setup setup-host deb apps
	tests/demo/demo.sh

test: need-root setup setup-host check dashboard-check deb lint apps e2e

check: setup fmt clippy deny unit

fmt:
	$(call step,Formatting)
	cargo fmt --all --check
	cargo fmt --manifest-path park/Cargo.toml --check

clippy:
	$(call step,Clippy)
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --manifest-path park/Cargo.toml --all-targets --locked -- -D warnings

deny:
	$(call step,Licences and sources of dependencies)
	packaging/cargo-deny

# The end-to-end crate needs hosts and is run by e2e, so it isn't among the default members.
unit:
	$(call step,Unit tests)
	cargo test --locked -p tenement-wire -p tenement-logs -p tenement-agent -p tenement-cli
	cargo test --locked --manifest-path park/Cargo.toml

# One suite after the other: they share two cores, or their times would mean nothing.
e2e:
	$(call step,End to end on Debian 12)
	tests/e2e bookworm
	$(call step,End to end on Debian 13)
	tests/e2e trixie --once
	$(call step,A small run on a virtual machine)
	tests/e2e-vm bookworm

bench: need-root setup setup-host deb apps
	$(call step,Benchmarks)
	tests/bench/run

fuzz:
	$(call step,Fuzzing)
	packaging/fuzz

# Embedded by the agent's build; `make deb` and `make rpm` build it by themselves.
dashboard:
	$(call step,Building the dashboard)
	packaging/build-dashboard

dashboard-check:
	$(call step,Types and unit tests of the dashboard)
	packaging/build-dashboard check

deb: setup
	$(call step,Building the package (a few minutes when nothing is compiled yet))
	packaging/build-deb

rpm: setup
	packaging/install-build-deps rpm
	$(call step,Building the .rpm)
	packaging/build-rpm

lint:
	packaging/install-build-deps lint
	$(call step,Lintian)
	lintian --fail-on error,warning $(TENEMENT_DEB_DIR)/tenement_*.changes

# The flag is for the last crate only: with RUSTFLAGS cargo would compile all dependencies once more.
apps: setup
	$(call step,The static app)
	cargo rustc --release --locked -p tenement-test-apps --bin hello-static -- -C target-feature=+crt-static
	install -D $(CARGO_TARGET_DIR)/release/hello-static $(CARGO_TARGET_DIR)/apps/hello-static

# Said before the long steps and not after them.
need-root:
	@[ "$$(id -u)" = 0 ] || { echo 'Run this as root: it makes hosts out of namespaces.' >&2; exit 1; }

setup:
	@packaging/install-build-deps deb

setup-host:
	@tests/host/install-packages --vm

clean:
	cargo clean
	rm -rf target
