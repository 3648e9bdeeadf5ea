# Two commands matter: `make demo` and `make test`.  Both set up everything they need; tools/setup
# does nothing when that is done.  PYTHON=/path/to/python3 chooses the interpreter.

SHELL = /bin/bash
BIN = $(CURDIR)/.venv/bin

.PHONY: help setup demo test test-unit test-long bench docs lint clean

help:
	@echo "make demo        add, read, copy, migrate and delete a real disk image (IMAGE=path for your own)"
	@echo "make test        every test, real servers included; as root it installs what they need"
	@echo "make test-unit   the quick part"
	@echo "make test-long   every test, and those that are too long for every day"
	@echo "make bench       speed and memory against glance_store, in turn (CASE=name for one case)"
	@echo "make docs        the documentation, into doc/build/html, and the man page"
	@echo "make lint        ruff, hacking and mypy, as before a commit"
	@echo "make clean       remove what was built and set up"

setup:
	@tools/setup

demo: setup
	@tools/demo

test: setup
	@$(BIN)/python tools/run-tests

test-unit: setup
	@$(BIN)/python tools/run-tests --unit

test-long: setup
	@$(BIN)/python tools/run-tests --long

# An environment of its own: the peer must not be there when the tests run.
BENCH_PACKAGES = xfsprogs ceph-mon ceph-mgr ceph-osd ceph-common radosgw python3-rados python3-rbd openssl rclone bindfs qemu-utils
bench:
	@VENV=.venv-bench tools/setup bench http
	@if [ -z "$(filter file-% import start-% http-% swift-%,$(CASE))" ]; then tools/apt-install $(BENCH_PACKAGES); fi
	@if [ -z "$(CASE)" ] || [ -n "$(filter rbd-% cinder-%,$(CASE))" ]; then tools/ceph-bindings .venv-bench/bin/python; fi
	@.venv-bench/bin/python -m benchmarks $(CASE)

docs:
	@tools/setup docs
	$(BIN)/sphinx-build -W --keep-going -E -b html doc/source doc/build/html
	$(BIN)/sphinx-build -W --keep-going -b man doc/source doc/build/man

lint:
	@tools/setup lint
	PATH="$(BIN):$$PATH" $(BIN)/pre-commit run --all-files --show-diff-on-failure

# .services is left alone: servers may be running in it.
clean:
	rm -rf .venv .tox .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist cover
	rm -rf doc/build releasenotes/build *.egg-info .coverage .coverage.*
	find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
