# Wardian's everyday commands. Each installs what it needs into .venv (and, as root, from Debian) and works on a
# fresh Debian 12 machine with Python 3.11, gcc and make.

VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format bench build interpreted generate clean

demo: build
	@tools/demo.sh

test: build interpreted
	@tools/test.sh

check: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy --strict
	$(BIN)/python tools/gen_syscalls.py --check
	$(BIN)/python tools/gen_confinement.py --check

format: $(VENV)/.tools
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

bench: build
	$(BIN)/python bench/run.py $(BENCH)

build: $(VENV)/.built

generate: $(VENV)/.tools
	$(BIN)/python tools/gen_syscalls.py
	$(BIN)/python tools/gen_confinement.py

$(VENV)/.tools: pyproject.toml tools/venv.sh
	@tools/venv.sh

SOURCES := $(shell find src/wardian native -name '*.py' -o -name '*.[chS]' -o -name '*.lds' -o -name '*.pyi') \
    setup.py pyproject.toml

# The first time takes minutes: two hundred modules go through mypyc and the C compiler.
$(VENV)/.built: $(VENV)/.tools $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps .
	touch $@

# The C parts in the source tree, where unit tests run the Python as it is.
interpreted: $(VENV)/.tools
	@WARDIAN_NO_MYPYC=1 $(BIN)/python setup.py -q build_ext --inplace

clean:
	rm -rf build dist $(VENV) src/*.egg-info src/wardian/stub src/wardian/*.so
