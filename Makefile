# Wardian's everyday commands. Each installs what it needs into .venv (and, for `make test`, Debian packages
# when it runs as root) and works on a fresh Debian 12 machine with Python 3.11, gcc and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench build clean generate interpreted

demo: build
	@tools/demo.sh

test: build
	@tools/test.sh

check: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/python tools/gen_syscalls.py --check

bench: build
	$(BIN)/python bench/run.py $(BENCH)

build: $(VENV)/.built

generate: $(VENV)/.tools
	$(BIN)/python tools/gen_syscalls.py

$(VENV)/.tools: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check "setuptools>=77" "mypy[mypyc]==2.4.1" "librt>=0.16" \
	    "click>=8.1" "ruff>=0.15" "pytest>=8" "pytest-timeout>=2.3" "hypothesis>=6" "pexpect>=4.9"
	touch $@

SOURCES := $(shell find src/wardian native -name '*.py' -o -name '*.c' -o -name '*.h' -o -name '*.S' -o -name '*.lds') setup.py

$(VENV)/.built: $(VENV)/.tools $(SOURCES)
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps .
	touch $@

# The interpreted build: C parts in the source tree, Python as it is (WARDIAN_INTERPRETED=1 picks it).
interpreted: $(VENV)/.tools
	WARDIAN_NO_MYPYC=1 $(BIN)/python setup.py -q build_ext --inplace

clean:
	rm -rf build dist $(VENV) src/*.egg-info src/wardian/stub src/wardian/*.so
