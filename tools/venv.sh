#!/bin/sh
# Makes .venv with everything that building, testing and checking need. Debian splits Python into packages, and a new
# machine may lack the parts that make environments and extension modules: root gets them from Debian, others from
# PyPI where that is possible, or are told what to install.
set -eu
cd "$(dirname "$0")/.."

say() { echo "wardian: $*" >&2; }
fail() { say "$*"; exit 1; }

debian() { # install Debian packages, as root only
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 || {
        apt-get update -qq >/dev/null && apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    }
}

make_environment() {
    rm -rf .venv
    "$PYTHON" -m venv .venv >/dev/null 2>&1 && return
    rm -rf .venv
    if debian python3-venv; then
        "$PYTHON" -m venv .venv
        return
    fi
    "$PYTHON" -m virtualenv --version >/dev/null 2>&1 ||
        "$PYTHON" -m pip install -q --user virtualenv 2>/dev/null ||
        "$PYTHON" -m pip install -q --user --break-system-packages virtualenv 2>/dev/null ||
        fail "$PYTHON cannot make virtual environments: apt-get install python3-venv"
    "$PYTHON" -m virtualenv -q .venv
}

# A sandbox starts a sixth sooner, and takes a megabyte less, where Python is one program. Those that were built
# with --enable-shared load a libpython, and call it through tables: Debian's is preferred to such a one.
one_program() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11) or "/libpython" in open("/proc/self/maps").read())' 2>/dev/null
}
can_build() {
    "$1" -c 'import ensurepip, os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null
}
choose() {
    PYTHON=python3
    if one_program python3 || ! one_program /usr/bin/python3; then return; fi
    if can_build /usr/bin/python3 || { debian python3-venv python3-dev && can_build /usr/bin/python3; }; then
        PYTHON=/usr/bin/python3
    fi
}
[ -n "${PYTHON:-}" ] || choose

command -v "$PYTHON" >/dev/null || fail "no $PYTHON here: install Python 3.11 or newer, or set PYTHON=..."
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON is $("$PYTHON" -V): Python 3.11 or newer is needed; set PYTHON=..."
for tool in gcc ld make; do
    command -v $tool >/dev/null || debian gcc make || fail "no $tool here: apt-get install gcc make"
done
"$PYTHON" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    debian python3-dev || fail "Python.h is missing: apt-get install python3-dev"
[ -e /usr/include/linux/seccomp.h ] || debian libc6-dev linux-libc-dev || fail "C headers are missing: apt-get install libc6-dev"

.venv/bin/python -m pip --version >/dev/null 2>&1 || make_environment
.venv/bin/python -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
project = settings["project"]
wanted = [*settings["build-system"]["requires"], *project["dependencies"]]
print(*wanted, *project["optional-dependencies"]["dev"], sep="\n")
' >.venv/requirements.txt
.venv/bin/python -m pip install -q --disable-pip-version-check -r .venv/requirements.txt
touch .venv/.tools
