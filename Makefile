# The project's verbs; `make help` lists them. Everything is built by cargo, so `make` needs only a Rust toolchain.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR   = $(DESTDIR)$(PREFIX)/bin
PROGRAMS = hivebt-create hivebt-tracker hivebt-peer

# Where cargo puts what it builds.
TARGET   = $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := build
.PHONY: build demo test interop story fleet bench bench-swarm sim lint static install uninstall clean help
MAKEFLAGS += --no-print-directory

## build: the three programs, optimised, in target/release (this is what `make` alone does)
build:
	$(CARGO) build --release --locked

## demo: one payload from one seeder to N workers, verified; N=4, SIZE=256 (MiB) or FILE=path
demo: build
	@BIN="$(TARGET)/release" N="$(N)" SIZE="$(SIZE)" FILE="$(FILE)" bash tests/demo.sh

## test: every test that needs nothing but cargo
test:
	$(CARGO) test --locked

## interop: ours beside aria2, Transmission, libtorrent, opentracker, mktorrent and torf; the big story, the fleet; limits (as root)
interop: build static
	HIVEBT_BIN="$(abspath $(TARGET))/release" HIVEBT_STATIC="$(CURDIR)/dist" $(CARGO) test --locked --no-fail-fast --test interop --test limits --test story --test fleet -- --ignored --test-threads=1 --nocapture

## story: 2 GiB in thousands of files to 8 workers while things go wrong; HIVEBT_STORY_MIB sets the size
story: build
	HIVEBT_BIN="$(abspath $(TARGET))/release" $(CARGO) test --locked --test story -- --ignored --test-threads=1 --nocapture

## fleet: a folder, its next version and cleaning up on six hosts by cron, while things go wrong (as root); HIVEBT_FLEET_MIB sets the size
fleet: build
	HIVEBT_BIN="$(abspath $(TARGET))/release" $(CARGO) test --locked --test fleet -- --ignored --test-threads=1 --nocapture

## bench: ours beside whatever else is installed, as tables; TABLES="create small" chooses, HIVEBT_BENCH_MIB sets the size
bench: build
	$(CARGO) bench --locked --bench bench -- $(TABLES)

## bench-swarm: ours and the others' swarms on links of 40 and 80 Mbit/s, as tables (as root); HIVEBT_BENCH_ONLY=hivebt is ours alone
bench-swarm: build
	$(CARGO) bench --locked --bench bench -- swarm

## sim: swarms of up to 1,000 workers in virtual time, as a table (minutes; HIVEBT_SIM_WORKERS=64 leaves out the large ones)
sim:
	$(CARGO) test --locked --release --test sim -- --ignored --exact table::table --nocapture

## lint: formatting, clippy, documentation and the rules of the house; any warning fails
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --quiet --test house

## static: the three programs without any shared library, in dist (musl if that target is installed)
static:
	@set -e; \
	host=$$(rustc -vV | sed -n 's/^host: //p'); target=$${host%gnu}musl; flags="$(RUSTFLAGS)"; \
	if ! [ -d "$$(rustc --print target-libdir --target "$$target" 2>/dev/null)" ]; then \
		target=$$host; flags="$$flags -C target-feature=+crt-static"; \
	fi; \
	echo "static programs for $$target"; \
	RUSTFLAGS="$$flags" $(CARGO) build --release --locked --target "$$target"; \
	mkdir -p dist; \
	for program in $(PROGRAMS); do cp "$(TARGET)/$$target/release/$$program" dist/; echo "dist/$$program"; done

## install: the programs into PREFIX/bin (/usr/local); DESTDIR is put in front
install: build
	install -d "$(BINDIR)"
	install -m 755 $(addprefix $(TARGET)/release/,$(PROGRAMS)) "$(BINDIR)"

## uninstall: takes them out again
uninstall:
	rm -f $(addprefix "$(BINDIR)"/,$(PROGRAMS))

## clean: removes what was built
clean:
	$(CARGO) clean
	rm -rf dist

## help: this list
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))
