# The project's verbs; `make help` lists them. Everything is built by cargo, so `make` needs only a Rust toolchain.

CARGO   ?= cargo
RUSTC   ?= rustc
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR   = $(DESTDIR)$(PREFIX)/bin
PROGRAMS = hivebt-create hivebt-tracker hivebt-peer
PACKAGING = src/packaging

# Where cargo puts what it builds, and where the programs lie together: cargo bench writes its own into cargo's folders.
TARGET   = $(abspath $(or $(CARGO_TARGET_DIR),target))
BUILT    = $(TARGET)/programs

# What the linker is told for programs that never unwind; LEAN= tells it nothing, for one that knows no such scripts.
LEAN     = -C link-arg=-Wl,-T,$(PACKAGING)/lean.ld

.DEFAULT_GOAL := build
.PHONY: build demo test interop story fleet bench bench-swarm sim lint static install uninstall clean help
MAKEFLAGS += --no-print-directory

# $(call compile,CARGO'S FOLDER,FOLDER,OPTIONS,FLAGS): the programs, in FOLDER, with more options of cargo and flags of rustc than usual.
# The tracker has to outlive a fault in one request, so it alone can unwind.
define compile
	$(4) $(CARGO) build --locked --release --bin hivebt-tracker $(3)
	$(4) $(CARGO) rustc --locked --profile lean --bin hivebt-create $(3) -- $(LEAN)
	$(4) $(CARGO) rustc --locked --profile lean --bin hivebt-peer $(3) -- $(LEAN)
	@install -d "$(2)"
	@install -m 755 "$(1)/release/hivebt-tracker" "$(1)/lean/hivebt-create" "$(1)/lean/hivebt-peer" "$(2)"
endef

## build: the three programs, optimised, in target/programs (this is what `make` alone does)
build:
	$(call compile,$(TARGET),$(BUILT))

## demo: one payload from one seeder to N workers, verified; N=4, SIZE=256 (MiB) or FILE=path
demo: build
	@BIN="$(BUILT)" N="$(N)" SIZE="$(SIZE)" FILE="$(FILE)" bash tests/demo.sh

## test: every test that needs nothing but cargo
test:
	$(CARGO) test --locked

## interop: ours beside aria2, Transmission, libtorrent, opentracker, mktorrent and torf; limits; the big story, the fleet (as root)
interop: build static
	HIVEBT_BIN="$(BUILT)" HIVEBT_STATIC="$(CURDIR)/dist" $(CARGO) test --locked --no-fail-fast --test interop --test limits --test story --test fleet -- --ignored --test-threads=1 --nocapture

## story: 2 GiB in thousands of files to 8 workers while things go wrong; HIVEBT_STORY_MIB sets the size
story: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) test --locked --test story -- --ignored --test-threads=1 --nocapture

## fleet: a folder, its next version and cleaning up on six hosts by cron, while things go wrong (as root); HIVEBT_FLEET_MIB sets the size
fleet: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) test --locked --test fleet -- --ignored --test-threads=1 --nocapture

## bench: ours beside whatever else is installed, as tables; TABLES="create small" chooses, HIVEBT_BENCH_MIB sets the size
bench: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) bench --locked --bench bench -- $(TABLES)

## bench-swarm: ours and the others' swarms on links of 40 and 80 Mbit/s, as tables (as root); HIVEBT_BENCH_ONLY=hivebt is ours alone
bench-swarm: build
	HIVEBT_BIN="$(or $(HIVEBT_BIN),$(BUILT))" $(CARGO) bench --locked --bench bench -- swarm

## sim: swarms of up to 1,000 workers in virtual time, as a table (minutes; HIVEBT_SIM_WORKERS=64 leaves out the large ones)
sim:
	$(CARGO) test --locked --release --test sim -- --ignored --exact table::table --nocapture

## lint: formatting, clippy, documentation and the rules of the house; any warning fails
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --quiet --test house

# Static programs are for musl where that target is installed, else for glibc.
HOST     = $(shell $(RUSTC) --print host-tuple)
MUSL     = $(patsubst %gnu,%musl,$(HOST))
PLATFORM = $(if $(wildcard $(shell $(RUSTC) --print target-libdir --target $(MUSL) 2>/dev/null)),$(MUSL),$(HOST))
STATIC   = $(RUSTFLAGS) -C target-feature=+crt-static

## static: the three programs without any shared library, in dist (musl if that target is installed)
static:
	$(call compile,$(TARGET)/$(PLATFORM),dist,--target $(PLATFORM),RUSTFLAGS="$(STATIC)")
	@echo "dist: static programs for $(PLATFORM)"

## install: the programs into PREFIX/bin (/usr/local); DESTDIR is put in front
install: build
	install -d "$(BINDIR)"
	install -m 755 $(addprefix "$(BUILT)"/,$(PROGRAMS)) "$(BINDIR)"

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
