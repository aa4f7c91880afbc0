#!/bin/bash
# All tests, after `make build interpreted`: linters and generated files, then unit tests on the Python as it is, then
# whole programs on the compiled build as root, as an ordinary user, and interpreted. Goes on after a failure; the exit
# status and the last lines say how each part ended.
#
#   tools/test.sh            everything
#   tools/test.sh unit user  only these parts: check unit root user interpreted
#
# CI=true makes a missing tool a failure instead of a skipped test. As root it installs the Debian packages that the
# programs under test come from, and an ordinary user to be.
set -u
cd "$(dirname "$0")/.." || exit 1
HERE=$PWD
BIN=$HERE/.venv/bin
TESTER=wardian-test
ROOM=/var/tmp/$TESTER # what the ordinary user needs, where it can read it
export PYTHONDONTWRITEBYTECODE=1
unset WARDIAN WARDIAN_INTERPRETED PYTHONPATH

UNIT="tests/sentry tests/platform tests/host tests/tools tests/native"
WHOLE="tests/conformance tests/programs tests/cli tests/sdk tests/hostile"
CORE="tests/conformance tests/programs/test_busybox.py tests/programs/test_bash.py tests/programs/test_tools.py
    tests/cli/test_do_bad_input.py tests/cli/test_do_ends.py tests/sdk"

declare -a RESULTS=()
FAILED=0
INTEGRATION_LIMIT=1200

root() { [ "$(id -u)" = 0 ]; }
existing() { ls -d "$@" 2>/dev/null; }

# -- what the tests need ----------------------------------------------------------------------------

# command:package, for every program that some test runs
TOOLS="bash:bash busybox:busybox perl:perl gcc:gcc g++:g++ make:make git:git curl:curl sqlite3:sqlite3 strace:strace
    redis-server:redis-server redis-cli:redis-tools redis-benchmark:redis-tools nginx:nginx-light node:nodejs
    java:default-jre-headless javac:default-jdk-headless go:golang-go rustc:rustc xz:xz-utils bzip2:bzip2 tar:tar
    gzip:gzip bc:bc script:bsdutils setpriv:util-linux ps:procps ip:iproute2"

install_tools() {
    local tool missing=""
    PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
    for tool in $TOOLS; do
        command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
    done
    [ -e /usr/share/doc/python3-venv ] || missing="$missing python3-venv"
    [ -n "$missing" ] || return 0
    if ! root || ! command -v apt-get >/dev/null; then
        echo "Not here, and we are not root: $missing. Tests that need them are skipped."
        return 0
    fi
    echo "== installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Servers must not start: the tests start their own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2086
    apt-get install -qq -y --no-install-recommends $missing >/dev/null || echo "some could not be installed"
}

# -- parts ------------------------------------------------------------------------------------------

logged() { # LOG LIMIT COMMAND...: run it within LIMIT seconds; its exit status
    local log=$1 limit=$2
    shift 2
    timeout --kill-after=30 "$limit" "$@" 2>&1 | tee "$log"
    return "${PIPESTATUS[0]}"
}

part() { # NAME LIMIT COMMAND...: run it, keep its last line; once more when pytest itself hung
    local name=$1 limit=$2 log status started=$SECONDS again=""
    shift 2
    log=$(mktemp)
    echo "== $name"
    logged "$log" "$limit" "$@"
    status=$?
    if [ "$status" != 0 ] && grep -q "$HUNG" "$log"; then
        again=" (second run: the first hung, its stacks are above)"
        echo "== $name: pytest hung, once more"
        logged "$log" "$limit" "$@"
        status=$?
    fi
    [ "$status" = 124 ] && echo "== $name: no end after $limit s"
    [ "$status" = 0 ] || FAILED=1
    RESULTS+=("$(printf '%-12s %-6s %4ss  %s' "$name" "$([ "$status" = 0 ] && echo ok || echo FAILED)" \
        $((SECONDS - started)) "$(grep -v '^$' "$log" | tail -n 1)$again")")
    rm -f "$log"
}

# pytest-timeout raises an exception in a test that takes too long. One that catches it (as Hypothesis does, to look
# for a smaller example, which then hangs without a timer) is ended by faulthandler, which shows all stacks.
PYTEST="-m pytest -p no:cacheprovider --timeout 300 -raR -o faulthandler_timeout=360
    -o faulthandler_exit_on_timeout=true"
HUNG='Timeout (0:06:00)!'
# Whole programs share this machine with whatever else runs on it. One that fails is run once more, and pytest's last
# line counts such reruns: they are to be looked into, not to be lived with. The first try's traceback is shown.
AGAIN="--reruns 1 --reruns-delay 2 --rerun-show-tracebacks"

unit() {
    # shellcheck disable=SC2046,SC2086
    part unit 900 "$BIN/python" $PYTEST $(existing tests/test_*.py $UNIT)
}

whole() {
    # shellcheck disable=SC2046,SC2086
    part root $INTEGRATION_LIMIT env WARDIAN="$BIN/wardian" "$BIN/python" $PYTEST $AGAIN $(existing $WHOLE)
}

interpreted() {
    # shellcheck disable=SC2046,SC2086
    part interpreted $INTEGRATION_LIMIT env WARDIAN="$BIN/wardian" WARDIAN_INTERPRETED=1 \
        "$BIN/python" $PYTEST $AGAIN $(existing $CORE)
}

# The ordinary user may read neither root's Python nor, perhaps, this directory: it gets copies.
prepare_user() {
    id $TESTER >/dev/null 2>&1 || useradd --system --create-home --shell /bin/sh $TESTER || return 1
    rm -rf $ROOM
    mkdir -p $ROOM/tree $ROOM/tmp
    git ls-files -z src tests native tools docs pyproject.toml | tar --null -T - -c | tar -x -C $ROOM/tree
    cp -p src/wardian/stub src/wardian/_core.*.so $ROOM/tree/src/wardian/
    local python="$BIN/python"
    chmod 755 $ROOM
    if ! runuser -u $TESTER -- "$python" -c "import wardian" 2>/dev/null; then
        python=/usr/bin/python3
        $python -m venv $ROOM/venv || return 1
        local packages
        packages=$("$BIN/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
        cp -r "$packages/." "$($ROOM/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/"
        python=$ROOM/venv/bin/python
        sed "1s|.*|#!$python|" "$BIN/wardian" >$ROOM/venv/bin/wardian
        chmod 755 $ROOM/venv/bin/wardian
        runuser -u $TESTER -- $python -c "import wardian._core" || return 1
    fi
    chown -R $TESTER: $ROOM
    USER_BIN=$(dirname "$python")
}

user() {
    if ! root; then # then the part named root was it
        echo "== user: not root: the programs ran as an ordinary user already"
        return
    fi
    if ! prepare_user; then
        echo "== user: no ordinary user can be made here"
        [ "${CI:-}" = true ] && FAILED=1
        return
    fi
    cd $ROOM/tree || return
    # shellcheck disable=SC2046,SC2086
    part user $INTEGRATION_LIMIT runuser -u $TESTER -- env -u SUDO_USER HOME="$(getent passwd $TESTER | cut -d: -f6)" \
        TMPDIR=$ROOM/tmp WARDIAN="$USER_BIN/wardian" "$USER_BIN/python" $PYTEST $AGAIN $(existing tests/host $CORE)
    cd "$HERE" || return
    rm -rf $ROOM
}

# -- the whole --------------------------------------------------------------------------------------

for name in ${*:-check unit root user interpreted}; do
    case $name in
    check) part check 300 make -s check ;;
    unit) unit ;;
    root) install_tools && whole ;;
    user) install_tools && user ;;
    interpreted) install_tools && interpreted ;;
    *) echo "no part $name: check unit root user interpreted" && exit 2 ;;
    esac
done

echo
printf '%s\n' "${RESULTS[@]}"
exit $FAILED
