"""The real programs of the benchmark: what each needs beforehand, its shell script, its figures.

A script runs under ``sh -ec`` in the work directory, in the runtime under test, below
``micro time``, so that the start of the sandbox is not counted (the row ``start`` measures that).
It may write to ``scratch/``, which is empty before each run. Unless a program has a ``rates``
reader, its figure is the wall time of the script.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REDIS_PORT = 7397
NGINX_PORT = 7398


class Program(NamedTuple):
    """One script; ``figures`` are the names of the rows that it yields."""

    name: str
    figures: tuple[str, ...]
    needs: tuple[str, ...]  # commands that must exist
    script: str
    rates: Callable[[str], dict[str, float]] | None = None  # from standard error, per second


# -- inputs ----------------------------------------------------------------------------------------

SOURCE = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node{i} {{ struct node{i} *next; int value; char name[32]; }};
static struct node{i} *push(struct node{i} *list, int value) {{
    struct node{i} *n = malloc(sizeof *n);
    n->next = list; n->value = value;
    snprintf(n->name, sizeof n->name, "node %d", value);
    return n;
}}
int work{i}(int count) {{
    struct node{i} *list = NULL; int total = 0;
    for (int k = 0; k < count; k++) list = push(list, k);
    for (struct node{i} *n = list; n; n = n->next) total += n->value + (int)strlen(n->name);
    return total;
}}
"""

NGINX_CONF = """worker_processes 1;
pid scratch/nginx.pid;
error_log stderr crit;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    sendfile on;
    client_body_temp_path scratch/body; proxy_temp_path scratch/proxy;
    fastcgi_temp_path scratch/fastcgi; uwsgi_temp_path scratch/uwsgi; scgi_temp_path scratch/scgi;
    server {{ listen 127.0.0.1:{port}; root www; }}
}}
"""


def prepare(work: Path, root: bool) -> None:
    """Make the inputs, natively and once."""
    words = "the quick brown fox jumps over the lazy dog\n" * 40
    for d in range(50):
        folder = work / f"tree/d{d % 7}/e{d}"
        folder.mkdir(parents=True, exist_ok=True)
        for f in range(40):
            needle = "a needle in it\n" if (d * 40 + f) % 97 == 0 else ""
            (folder / f"file{f}.{'c' if f % 3 else 'h'}").write_text(f"{d} {f}\n{words}{needle}")
    for i in range(10):
        (work / f"unit{i}.c").write_text(SOURCE.format(i=i))
    rows = "\n".join(f"BEGIN; INSERT INTO t VALUES({i}, 'row {i}'); COMMIT;" for i in range(200))
    (work / "commits.sql").write_text("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);\n" + rows)
    (work / "www").mkdir(exist_ok=True)
    (work / "www/1k").write_bytes(b"x" * 1024)
    (work / "www/1m").write_bytes(b"x" * (1 << 20))
    user = "user root;" if root else ""
    (work / "nginx.conf").write_text(NGINX_CONF.format(port=NGINX_PORT, user=user))


# -- reading rates ---------------------------------------------------------------------------------


def redis_rates(prefix: str) -> Callable[[str], dict[str, float]]:
    """Reads ``redis-benchmark --csv`` lines: "SET","12345.67",..."""

    def read(text: str) -> dict[str, float]:
        found = re.findall(r'^"(SET|GET)","([0-9.]+)"', text, re.MULTILINE)
        return {f"{prefix}_{name.lower()}": float(rate) for name, rate in found}

    return read


def http_rate(name: str) -> Callable[[str], dict[str, float]]:
    """Reads the line of httpload."""

    def read(text: str) -> dict[str, float]:
        for line in text.splitlines():
            if line.startswith('{"name": "httpload"'):
                return {name: float(json.loads(line)["rate"])}
        return {}

    return read


# -- scripts ---------------------------------------------------------------------------------------

REDIS = f"""
redis-server --port {REDIS_PORT} --bind 127.0.0.1 --save '' --appendonly no --dir scratch \
    >scratch/redis.log 2>&1 &
n=0
until redis-cli -p {REDIS_PORT} ping >/dev/null 2>&1; do
    n=$((n+1)); [ $n -lt 100 ] || {{ cat scratch/redis.log; exit 1; }}; sleep 0.05
done
redis-benchmark -p {REDIS_PORT} -t set,get -n %d -c 20 %s --csv
redis-cli -p {REDIS_PORT} shutdown nosave >/dev/null 2>&1 || true
wait
"""

NGINX = f"""
nginx -p . -c nginx.conf -g 'daemon off;' &
server=$!
n=0
until curl -s -o /dev/null http://127.0.0.1:{NGINX_PORT}/1k; do
    n=$((n+1)); [ $n -lt 100 ] || exit 1; sleep 0.05
done
./httpload {NGINX_PORT} /%s 16 %d
kill $server
wait || true
"""


def programs(quick: bool) -> list[Program]:
    """Every program; ``quick`` cuts the repetitions to about a tenth."""
    cut = 10 if quick else 1
    mib = 1024 // cut
    return [
        Program("shell_execs", ("shell_50_execs",), ("sh",),
                "i=0; while [ $i -lt 50 ]; do /bin/true; i=$((i+1)); done"),
        Program("python_start", ("python_start",), ("python3",), "python3 -c pass"),
        Program("find", ("find_tree",), ("find",), "find tree -type f -name '*.c' >scratch/list"),
        Program("tar", ("tar_tree",), ("tar",), "tar cf scratch/tree.tar tree"),
        Program("grep", ("grep_tree",), ("grep",), "grep -r needle tree >scratch/found"),
        Program("gcc", ("gcc_10_files",), ("gcc",),
                "for i in 0 1 2 3 4 5 6 7 8 9; do gcc -O1 -c unit$i.c -o scratch/unit$i.o; done"),
        Program("git", ("git_commit",), ("git",),
                "cd scratch; cp -r ../tree/d0 ../tree/d1 .; git init -q .; git add .;"
                " git -c user.name=b -c user.email=b@example.org commit -q -m bench"),
        Program("sqlite", ("sqlite_200_commits",), ("sqlite3",),
                "sqlite3 scratch/bench.db <commits.sql"),
        Program("dd", ("dd_1gib",), ("dd",),
                f"dd if=/dev/zero of=/dev/null bs=64k count={mib * 16} 2>/dev/null"),
        Program("pipe", ("pipe_512mib",), ("head", "cat"),
                f"head -c {mib // 2}M /dev/zero | cat >/dev/null"),
        Program("redis", ("redis_set", "redis_get"), ("redis-server", "redis-benchmark"),
                REDIS % (50000 // cut, ""), redis_rates("redis")),
        Program("redis_p16", ("redis_p16_set", "redis_p16_get"),
                ("redis-server", "redis-benchmark"),
                REDIS % (400000 // cut, "-P 16"), redis_rates("redis_p16")),
        Program("nginx_1k", ("nginx_1k",), ("nginx", "curl"),
                NGINX % ("1k", 20000 // cut), http_rate("nginx_1k")),
        Program("nginx_1m", ("nginx_1m",), ("nginx", "curl"),
                NGINX % ("1m", 1000 // cut), http_rate("nginx_1m")),
    ]  # fmt: skip


def missing(program: Program) -> str:
    """The first command a program needs that this machine does not have, or nothing."""
    for command in program.needs:
        if subprocess.run(["sh", "-c", f"command -v {command}"], capture_output=True).returncode:
            return command
    return ""
