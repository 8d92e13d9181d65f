# Everything a person or a machine does with this repository; README.md explains the first two.
#
#   make run      install what is missing, build, start an engine of its own, walk through the API
#   make test     install what is missing, all tests
#   make build    dist/gantry, one static binary
#   make docs-table  run the end-to-end tests and write down in docs/api.md what they show
#   make soak     eight clients for an hour (SOAK_SECONDS); nothing may grow
#   make judge    images of real projects, built by Gantry and dockerd, compared file by file
#   make bench    Gantry beside dockerd and bare runc/crun, with the targets
#   make lint     formatting, clippy, licences, dependency directions
#   make fuzz     the readers of hostile input, FUZZ_SECONDS each
#   make install  binary, systemd units, default configuration (DESTDIR, PREFIX)

SHELL = /bin/sh
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
TARGET = x86_64-unknown-linux-musl
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
RELEASE = $(CARGO_TARGET_DIR)/$(TARGET)/release/gantry
VENV = target/venv
# What `make install` installs.
GANTRY ?= dist/gantry
PYTEST_FLAGS ?= -n 2
BENCH_FLAGS ?=

.PHONY: all build run stop test test-rust test-e2e docs-table soak judge bench lint fmt fuzz install uninstall clean setup-build

all: build

setup-build:
	@scripts/setup.sh build

build: setup-build
	$(CARGO) build --release --locked --package gantry
	@mkdir -p dist
	@# By rename: a daemon that runs from here keeps its file, and nobody sees half of one.
	@cp "$(RELEASE)" dist/gantry.new && mv dist/gantry.new dist/gantry
	@ls -lh dist/gantry | awk '{print "dist/gantry: " $$5 "B, static"}'

run: build
	@scripts/setup.sh run
	@scripts/as-root.sh scripts/demo.sh start

stop:
	@scripts/as-root.sh scripts/demo.sh stop

test: test-rust test-e2e

# The crates' own tests, among them the one on dependency directions and licences.
test-rust: setup-build
	@scripts/setup.sh test
	$(CARGO) test --locked --workspace

# The end-to-end tests, through the API and the docker command.
test-e2e: build $(VENV)/ready tests/clients/node/node_modules/.ready
	@scripts/setup.sh test
	cd tests && GANTRY_BIN="$(abspath dist/gantry)" "$(abspath $(VENV))/bin/python" -m pytest $(PYTEST_FLAGS)

# The table of operations, parameters and fields; PYTEST_FLAGS may name the test files that changed.
docs-table: build $(VENV)/ready tests/clients/node/node_modules/.ready
	@scripts/setup.sh test
	cd tests && GANTRY_BIN="$(abspath dist/gantry)" "$(abspath $(VENV))/bin/python" -m pytest --record $(PYTEST_FLAGS)
	cd tests && "$(abspath $(VENV))/bin/python" -m conformance.table

$(VENV)/ready: tests/requirements.txt
	@scripts/setup.sh python
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

# Docker's clients for Node.js, as the lock says; install scripts build what no test needs.
tests/clients/node/node_modules/.ready: tests/clients/node/package-lock.json
	@scripts/setup.sh node
	cd tests/clients/node && npm ci --silent --omit=optional --ignore-scripts
	@touch $@

# Not part of `make test`: it takes as long as it is told to.
SOAK_SECONDS ?= 3600
soak: build $(VENV)/ready
	@scripts/setup.sh test
	cd tests && SOAK_SECONDS=$(SOAK_SECONDS) GANTRY_BIN="$(abspath dist/gantry)" "$(abspath $(VENV))/bin/python" -m pytest -s soak

# Not part of `make test` either: dockerd takes minutes.
judge: build $(VENV)/ready
	@scripts/setup.sh test
	cd tests && GANTRY_BIN="$(abspath dist/gantry)" "$(abspath $(VENV))/bin/python" -m pytest -rP judges

bench: build
	@scripts/setup.sh bench
	@scripts/as-root.sh python3 bench/bench.py $(BENCH_FLAGS)

lint: setup-build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --quiet --package gantry --test architecture

fmt:
	$(CARGO) fmt --all

# Everything that reads what strangers write; FUZZ_SECONDS for each.
FUZZ_SECONDS ?= 120
fuzz: setup-build
	set -e; for target in fuzz/fuzz_targets/*.rs; do fuzz/run.sh "$$(basename "$$target" .rs)" $(FUZZ_SECONDS); done

install: $(GANTRY)
	install -D -m 0755 "$(GANTRY)" "$(DESTDIR)$(PREFIX)/bin/gantry"
	install -d "$(DESTDIR)$(UNITDIR)"
	sed 's|@PREFIX@|$(PREFIX)|' packaging/gantry.service > "$(DESTDIR)$(UNITDIR)/gantry.service"
	install -m 0644 packaging/gantry.socket "$(DESTDIR)$(UNITDIR)/gantry.socket"
	@# The group that may use the socket; a package makes it in its own way.
	test -n "$(DESTDIR)" || getent group docker >/dev/null || groupadd --system docker
	test -e "$(DESTDIR)$(SYSCONFDIR)/gantry/daemon.json" || \
		install -D -m 0644 packaging/daemon.json "$(DESTDIR)$(SYSCONFDIR)/gantry/daemon.json"

dist/gantry:
	$(MAKE) build

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/gantry" "$(DESTDIR)$(UNITDIR)/gantry.service" "$(DESTDIR)$(UNITDIR)/gantry.socket"

clean:
	rm -rf dist "$(VENV)"
	$(CARGO) clean
