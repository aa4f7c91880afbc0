#!/bin/bash
# A shell pipeline, a Python program and a look around: each first on this machine, then on Wardian's kernel.
# The same unmodified binaries run both times. WARDIAN names another command than the one `make build` left.
set -u
cd "$(dirname "$0")/.." || exit 1
WARDIAN=${WARDIAN:-$PWD/.venv/bin/wardian}
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
LINES_SHOWN=6

title() { printf '\n\033[1m%s\033[0m\n' "$1"; }

first_lines() { # indented, and how many more there are
    awk -v n=$LINES_SHOWN 'NR <= n { print "      " $0 } END { if (NR > n) print "      ... " NR - n " more" }'
}

both() { # TITLE COMMAND...: outside, then inside
    title "$1"
    shift
    printf '  $ %s\n  outside:\n' "$*"
    "$@" 2>&1 | first_lines
    printf '  inside (wardian do ...):\n'
    $WARDIAN do -- "$@" 2>&1 | first_lines
    [ "${PIPESTATUS[0]}" = 0 ] || { echo "  that failed: see \`wardian doctor\`" && exit 1; }
}

cat >"$SCRATCH/program.py" <<'PROGRAM'
import platform, sqlite3, subprocess, threading

squares = []
threads = [threading.Thread(target=lambda n=n: squares.append(n * n)) for n in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
database = sqlite3.connect(__file__ + ".db")
database.executescript("drop table if exists numbers; create table numbers (n)")
database.executemany("insert into numbers values (?)", [(n,) for n in squares])
database.commit()
total = database.execute("select sum(n) from numbers").fetchone()[0]
child = subprocess.run(["echo", "a child"], capture_output=True, text=True).stdout.strip()
print(f"ten threads, {child}, a database: {total}; Linux {platform.release()}")
PROGRAM

echo "Unmodified programs, answered by a Linux kernel that is written in Python."
# shellcheck disable=SC2016
both "A shell pipeline: the same answer" \
    sh -c 'ls /usr/bin | cut -c1 | sort | uniq -c | sort -rn | head -n 3'
both "A Python program: the same answer, on another kernel" \
    "$(command -v python3)" "$SCRATCH/program.py"
both "The kernel says who it is" uname -a
if command -v ps >/dev/null; then
    both "None of this machine's processes can be seen" ps -e -o pid,comm
else
    both "None of this machine's processes can be seen" sh -c 'cat /proc/[0-9]*/comm'
fi

title "What a sandbox writes is gone when it ends"
printf '  $ wardian do sh -c "echo hello > file && ls file"; ls file\n'
(cd "$SCRATCH" && $WARDIAN do -- sh -c 'echo hello >file && ls file' && ls file) 2>&1 | sed 's/^/      /'

printf '\nGo on with: .venv/bin/wardian do bash     .venv/bin/wardian do --strace date     .venv/bin/wardian doctor\n'
