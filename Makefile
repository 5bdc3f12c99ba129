# The project's verbs; `make help` lists them. Everything is built by cargo, so `make` needs only a Rust toolchain.

CARGO   ?= cargo
RUSTC   ?= rustc
PREFIX  ?= /usr/local
DESTDIR ?=
ROOT     = $(DESTDIR)$(PREFIX)
PROGRAMS = hivebt-create hivebt-tracker hivebt-peer
PACKAGING = src/packaging

# Where cargo puts what it builds, and where the programs lie together: cargo bench writes its own into cargo's folders.
TARGET   = $(abspath $(or $(CARGO_TARGET_DIR),target))
BUILT    = $(TARGET)/programs

# What the linker is told for programs that never unwind; LEAN= tells it nothing, for one that knows no such scripts.
LEAN     = -C link-arg=-Wl,-T,$(PACKAGING)/lean.ld

VERSION  = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The time that archives tell: that of the last commit, which the files of an unpacked source archive have.
SOURCE_DATE_EPOCH ?= $(if $(wildcard .git),$(shell git log -1 --format=%ct),$(shell stat -c %Y Cargo.toml))

.DEFAULT_GOAL := build
.PHONY: build demo test interop story fleet soak bench bench-swarm sim lint static fuzz fetch dist vendor install uninstall clean help
MAKEFLAGS += --no-print-directory

# $(call compile,CARGO'S FOLDER,FOLDER,OPTIONS,FLAGS): the programs, in FOLDER, with more options of cargo and flags of rustc than usual.
# The tracker has to outlive a fault in one request, so it alone can unwind.
define compile
	+$(4) $(CARGO) build --locked --release --bin hivebt-tracker $(3)
	+$(4) $(CARGO) rustc --locked --profile lean --bin hivebt-create $(3) -- $(LEAN)
	+$(4) $(CARGO) rustc --locked --profile lean --bin hivebt-peer $(3) -- $(LEAN)
	@install -d "$(2)"
	@install -m 755 "$(1)/release/hivebt-tracker" "$(1)/lean/hivebt-create" "$(1)/lean/hivebt-peer" "$(2)"
endef

# $(call pack,FOLDER): FOLDER below dist as FOLDER.tar.gz: the same bytes for the same files, whoever packs them wherever.
define pack
	@tar -C dist --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w --mtime=@$(SOURCE_DATE_EPOCH) -cf dist/$(1).tar $(1)
	@gzip -nf9 dist/$(1).tar
	@rm -rf dist/$(1)
	@echo dist/$(1).tar.gz
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

## interop: ours beside aria2, Transmission, libtorrent, opentracker, nginx and more; limits; archives and units; the big story, the fleet, some soaking (as root)
# Building once more from the archive of the sources (in packaging) takes minutes of a core, in which the tests of interop mostly wait for others.
interop: build dist vendor
	@set -x; export HIVEBT_BIN="$(BUILT)" HIVEBT_DIST="$(CURDIR)/dist"; status=0; \
	trap 'trap - TERM; kill 0' INT TERM; \
	$(CARGO) test --locked --no-run --test interop --test packaging --test limits --test story --test fleet --test soak || exit; \
	nice -n 19 $(CARGO) test --locked --test packaging -- --ignored --test-threads=1 --nocapture >"$(TARGET)/packaging.log" 2>&1 & packaging=$$!; \
	$(CARGO) test --locked --test interop -- --ignored --test-threads=2 --nocapture || status=1; \
	wait $$packaging || status=1; cat "$(TARGET)/packaging.log"; \
	$(CARGO) test --locked --no-fail-fast --test limits --test story --test fleet -- --ignored --test-threads=1 --nocapture || status=1; \
	HIVEBT_SOAK_MINUTES=0.3 $(CARGO) test --locked --test soak -- --ignored --nocapture || status=1; \
	exit $$status

## story: 2 GiB in thousands of files to 8 workers while things go wrong; HIVEBT_STORY_MIB sets the size
story: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) test --locked --test story -- --ignored --test-threads=1 --nocapture

## fleet: a night on six hosts or HIVEBT_FLEET_WORKERS of HIVEBT_FLEET_MIB each; upgrades, pulled cables, hosts of 64 MiB without root (as root)
fleet: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) test --locked --test fleet -- --ignored --test-threads=1 --nocapture

## soak: half an hour of coming and going, in which nobody may grow (as root); HIVEBT_SOAK_MINUTES sets the time
soak: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) test --locked --test soak -- --ignored --test-threads=1 --nocapture

## bench: ours beside whatever else is installed, as tables; TABLES="create small" chooses, HIVEBT_BENCH_MIB sets the size
bench: build
	HIVEBT_BIN="$(BUILT)" $(CARGO) bench --locked --bench bench -- $(TABLES)

## bench-swarm: ours and the others' swarms on links of 40 and 80 Mbit/s, as tables (as root); HIVEBT_BENCH_ONLY=hivebt is ours alone
bench-swarm: build
	HIVEBT_BIN="$(or $(HIVEBT_BIN),$(BUILT))" $(CARGO) bench --locked --bench bench -- swarm

## sim: swarms of up to 1,000 workers in virtual time, as a table (minutes; HIVEBT_SIM_WORKERS=64 leaves out the large ones)
sim:
	$(CARGO) test --locked --release --test sim -- --ignored --exact table::table --nocapture

# What cargo-fuzz gives rustc, too; it needs no nightly. Build scripts do without it, because a target is named.
SANCOV   = -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
	-C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares
FUZZ_SECONDS ?= 600

## fuzz: libFuzzer on every reader of bytes, FUZZ_SECONDS (600) each, or on FUZZ="magnet utp" alone; finds stay in target/fuzz (needs a C++ compiler)
fuzz:
	RUSTFLAGS="$(SANCOV)" $(CARGO) build --locked --release --manifest-path tests/fuzz/Cargo.toml --target $(HOST) --target-dir "$(TARGET)/fuzz"
	@status=0; for name in $(or $(FUZZ),$(notdir $(wildcard testdata/fuzz/*))); do \
	install -d "$(TARGET)/fuzz/corpus/$$name" "$(TARGET)/fuzz/found/$$name"; \
	echo "$$name: $(FUZZ_SECONDS) s"; \
	HIVEBT_FUZZ=$$name "$(TARGET)/fuzz/$(HOST)/release/fuzz" -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
		-verbosity=0 -artifact_prefix="$(TARGET)/fuzz/found/$$name/" "$(TARGET)/fuzz/corpus/$$name" "testdata/fuzz/$$name" || status=1; \
	done; exit $$status

## lint: formatting, clippy, documentation and the rules of the house; any warning fails
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --quiet --test house

# Static programs are for musl where that target is installed, else for glibc. Neither they nor the archives tell where they were built.
HOST     = $(shell $(RUSTC) --print host-tuple)
MUSL     = $(patsubst %gnu,%musl,$(HOST))
PLATFORM = $(if $(wildcard $(shell $(RUSTC) --print target-libdir --target $(MUSL) 2>/dev/null)),$(MUSL),$(HOST))
CRATES   = $(shell ls -d $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/* 2>/dev/null) $(CURDIR)/vendor
# Of several that match, the last one counts.
REMAP    = --remap-path-prefix=$(CURDIR)=hivebt --remap-path-prefix=$(TARGET)=target $(foreach folder,$(CRATES),--remap-path-prefix=$(folder)=crates)
# A folder of their own: in cargo's usual one they would wait for those of `make build` under `make -j2`, and each build has one core at work.
APART    = $(TARGET)/static
STATIC   = $(RUSTFLAGS) -C target-feature=+crt-static $(REMAP)

## static: the three programs without any shared library, in dist (musl if that target is installed)
static: fetch
	$(call compile,$(APART)/$(PLATFORM),dist,--target $(PLATFORM) --target-dir "$(APART)",RUSTFLAGS="$(STATIC)")
	@echo "dist: static programs for $(PLATFORM)"

# A recipe is expanded before it runs, and CRATES has to see what was fetched.
fetch:
	@$(CARGO) fetch --locked --quiet --target $(PLATFORM)

ARCHIVE  = hivebt-$(VERSION)-$(firstword $(subst -, ,$(HOST)))-linux
SOURCES  = hivebt-$(VERSION)-source

## dist: one archive to copy to hosts: static programs, units, sample of bt_config.json, README, LICENSE, checksums
dist: static
	@rm -rf dist/$(ARCHIVE)
	@install -d dist/$(ARCHIVE)/systemd dist/$(ARCHIVE)/completions
	@install -m 755 $(addprefix dist/,$(PROGRAMS)) dist/$(ARCHIVE)
	@install -m 644 README.md LICENSE $(PACKAGING)/bt_config.json dist/$(ARCHIVE)
	@install -m 644 $(PACKAGING)/systemd/* dist/$(ARCHIVE)/systemd
	@install -m 644 $(PACKAGING)/completions/* dist/$(ARCHIVE)/completions
	@cd dist/$(ARCHIVE) && sha256sum $(PROGRAMS) $(DOCUMENTS) systemd/* completions/* >SHA256SUMS
	$(call pack,$(ARCHIVE))

## vendor: the sources and all the crates they need in one archive, for building and testing where there is no registry
vendor:
	@test -e .git || { echo "error: make vendor packs what git tracks, and this is no git repository" >&2; exit 1; }
	@rm -rf dist/$(SOURCES)
	@install -d dist/$(SOURCES)/.cargo
	@git ls-files -z | tar --null --files-from=- -cf - | tar -C dist/$(SOURCES) -xf -
	@$(CARGO) vendor --locked --quiet --versioned-dirs dist/$(SOURCES)/vendor >/dev/null
	@printf '%s\n' '[source.crates-io]' 'replace-with = "vendor"' '[source.vendor]' 'directory = "vendor"' >dist/$(SOURCES)/.cargo/config.toml
	$(call pack,$(SOURCES))

## install: the programs, units, sample configuration and completions below PREFIX (/usr/local); DESTDIR is put in front
install: build
	install -d "$(ROOT)/bin" "$(ROOT)/lib/systemd/system" "$(ROOT)/lib/sysusers.d" "$(ROOT)/share/doc/hivebt" "$(ROOT)/share/bash-completion/completions"
	install -m 755 $(addprefix "$(BUILT)"/,$(PROGRAMS)) "$(ROOT)/bin"
	for unit in $(UNITS); do sed 's|/usr/local/bin|$(PREFIX)/bin|' "$(PACKAGING)/systemd/$$unit" >"$(ROOT)/lib/systemd/system/$$unit"; done
	install -m 644 $(PACKAGING)/systemd/hivebt.sysusers "$(ROOT)/lib/sysusers.d/hivebt.conf"
	install -m 644 README.md LICENSE $(PACKAGING)/bt_config.json "$(ROOT)/share/doc/hivebt"
	for program in $(PROGRAMS); do install -m 644 $(PACKAGING)/completions/hivebt.bash "$(ROOT)/share/bash-completion/completions/$$program"; done

DOCUMENTS = README.md LICENSE bt_config.json
UNITS    = $(notdir $(wildcard $(PACKAGING)/systemd/*.service))

## uninstall: takes them out again
uninstall:
	rm -f $(addprefix "$(ROOT)/bin"/,$(PROGRAMS)) $(addprefix "$(ROOT)/share/bash-completion/completions"/,$(PROGRAMS))
	rm -f $(addprefix "$(ROOT)/lib/systemd/system"/,$(UNITS)) "$(ROOT)/lib/sysusers.d/hivebt.conf"
	rm -f $(addprefix "$(ROOT)/share/doc/hivebt"/,$(DOCUMENTS))
	rmdir "$(ROOT)/share/doc/hivebt"

## clean: removes what was built
clean:
	$(CARGO) clean
	rm -rf dist

## help: this list
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))
