"""git, gcc, make, sqlite3's shell: what a developer runs all day."""

from __future__ import annotations

import sys

import pytest
from harness import Differential, needs

GIT = """
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z'
git config --global user.email a@b; git config --global user.name me; git config --global init.defaultBranch main
git config --global protocol.file.allow always
git init -q one; cd one; seq 1000 > numbers; mkdir d; echo text > d/file; ln -s d/file link; chmod +x numbers
git add .; git status --short; git commit -q -m first; git log --format='%H %s'
seq 1001 > numbers; git diff --stat; git commit -q -am second; git log --oneline | cat; git show --stat HEAD | tail -n 2
git checkout -q -b side HEAD~1; echo side > side; git add side; git commit -q -m side; git checkout -q main
git merge -q -m merge side; git log --oneline --graph | cat; git tag -a v1 -m tag; git describe
for n in $(seq 20); do echo $n > f$n; git add f$n; git commit -q -m c$n; done; git rev-list --count HEAD
git gc -q; git fsck; git count-objects -v | grep -v size; git stash list; echo dirty >> numbers; git stash -q; git stash pop -q
git grep -c 99 numbers; git blame -s f3 | cut -d' ' -f2-; git archive HEAD d | tar tf -
cd ..; git clone -q one two; cd two; git log -1 --format=%H; ls; git checkout -q v1 2>&1; git status | head -n 1
cd ..; git clone -q --bare one bare.git; git clone -q file://$PWD/bare.git three; cd three; echo new > new; git add new
git commit -q -m new; git push -q origin main; git -C ../bare.git log -1 --format=%s; git worktree add -q ../wt HEAD~1; ls ../wt | wc -l
git submodule add -q ../bare.git sub 2>&1; git submodule status | cut -d' ' -f3; git rebase -q HEAD~3; git bisect start -q HEAD HEAD~5; git bisect reset -q
git nosuchcommand; echo $?; git checkout nosuchbranch; echo $?
"""

MAKEFILE = """
CC = gcc
CFLAGS = -O1 -Wall -g -MMD
OBJECTS = main.o list.o text.o
program: $(OBJECTS) libsum.a libshared.so
	$(CC) -o $@ $(OBJECTS) -L. -lsum -lshared -Wl,-rpath,'$$ORIGIN' -lm
libsum.a: sum.o
	ar rcs $@ $^
libshared.so: shared.c
	$(CC) $(CFLAGS) -shared -fPIC -o $@ $<
check: program
	@./program 3 4
	@./program || echo "status $$?"
clean:
	rm -f *.o *.d *.a *.so program
-include *.d
.PHONY: check clean
"""

SOURCES = {
    "main.c": '#include <stdio.h>\n#include <stdlib.h>\n#include <math.h>\n#include "parts.h"\nint main(int n, char **v)\n'
    "{ if (n < 3) return 9; struct list *l = push(push(0, atoi(v[1])), atoi(v[2]));\n"
    '  printf("%d %s %d %.3f\\n", sum(l), text(), shared(6), sqrt(2.0)); return 0; }\n',
    "parts.h": "struct list { int value; struct list *next; };\nstruct list *push(struct list *l, int v);\n"
    "int sum(struct list *l);\nconst char *text(void);\nint shared(int);\n",
    "list.c": '#include <stdlib.h>\n#include "parts.h"\nstruct list *push(struct list *l, int v)\n'
    "{ struct list *n = malloc(sizeof *n); n->value = v; n->next = l; return n; }\n",
    "text.c": '#include "parts.h"\nconst char *text(void) { return "text"; }\n',
    "sum.c": '#include "parts.h"\nint sum(struct list *l) { int s = 0; for (; l; l = l->next) s += l->value; return s; }\n',
    "shared.c": "int shared(int n) { return n * 7; }\n",
}

SQL = """
create table t(a integer primary key, b text); begin;
with recursive n(x) as (select 1 union all select x+1 from n where x<1000) insert into t select x, 'row '||x from n;
commit; select count(*), sum(a), max(b) from t; create index i on t(b); select a from t where b='row 500';
.mode csv
select * from t limit 2;
pragma journal_mode=wal; update t set b='x' where a<10; select count(*) from t where b='x'; vacuum; pragma integrity_check;
select nosuch;
"""


def test_git(differential: Differential) -> None:
    needs("git")
    differential(GIT, timeout=120, expect="first")


def test_make_and_gcc(differential: Differential) -> None:
    needs("gcc", "make")
    differential.write("Makefile", MAKEFILE.lstrip())
    for name, text in SOURCES.items():
        differential.write(name, text)
    differential(
        "make -j2 check; touch parts.h; make -q program; echo $?; make 2>&1 | wc -l; make check; make clean; ls;"
        " make nosuch; echo $?; echo 'int main( {' > bad.c; gcc -c bad.c; echo $?",
        change=lambda text: "\n".join(sorted(text.splitlines())),
        timeout=120,
        expect="7 text 42 1.414",
    )


def test_cplusplus(differential: Differential) -> None:
    needs("g++")
    differential.write(
        "a.cc",
        "#include <iostream>\n#include <thread>\n#include <vector>\n#include <atomic>\n#include <stdexcept>\n"
        "int main() { std::atomic<int> n{0}; std::vector<std::thread> v;\n"
        " for (int i = 0; i < 8; i++) v.emplace_back([&] { for (int j = 0; j < 1000; j++) n++; });\n"
        " for (auto &t : v) t.join(); std::cout << n << std::endl;\n"
        ' try { throw std::runtime_error("thrown"); } catch (std::exception &e) { std::cout << e.what() << std::endl; }\n'
        " throw 1; }\n",
    )
    differential("g++ -O1 -pthread -o a a.cc && ./a; echo $?", timeout=120, expect="thrown\n134\n")


def test_sqlite_shell(differential: Differential) -> None:
    needs("sqlite3")
    differential(["sqlite3", "file.db"], stdin=SQL, status=1)


IPC = r"""
ipcmk -M 5000 >made; ipcmk -S 3 >>made; ipcmk -Q >>made; cut -d: -f1 made
m=$(sed -n '1s/.*: //p' made); s=$(sed -n '2s/.*: //p' made); q=$(sed -n '3s/.*: //p' made)
for table in shm/$m sem/$s msg/$q; do
    awk -v id=${table#*/} 'NR == 1 || $2 == id { $1 = $2 = "-"; print }' /proc/sysvipc/${table%/*} |
        sed 's/1[0-9]\{9\}/TIME/; s/ 5000 [0-9]* / 5000 PID /'
done
ipcs -m -i $m | grep -c bytes=5000; ipcs -s -i $s | grep nsems; ipcs -q -i $q | grep -o 'qnum=.*qbytes=[0-9]*'
ipcrm -m $m -s $s -q $q; ipcs -m -i $m 2>&1 | sed "s/$m/ID/"; ipcrm -q $q 2>&1 | sed "s/$q/ID/"
"""


def test_ipcs_shows_what_ipcmk_made(differential: Differential) -> None:
    needs("ipcs", "ipcmk", "ipcrm")
    differential(IPC, expect="TIME")


CACHES = """
for n in 1 2 3; do getconf -a | grep CACHE; done
for n in 1 2 3; do grep ' r-xp .*/ld-linux' /proc/self/maps | wc -l; done
"""


def test_the_dynamic_loader_knows_the_processor(differential: Differential) -> None:
    """It asks with cpuid, or finds the answers in its text (mm.alternatives)."""
    differential(CACHES)


LOADER_TEXT = r"""
import re
text = re.search(r"(\w+)-(\w+) r-xp (\w+) .* (/.*/ld-linux.*)", open("/proc/self/maps").read())
start, end, offset = (int(text[n], 16) for n in (1, 2, 3))
with open(text[4], "rb") as file, open("/proc/self/mem", "rb") as memory:
    file.seek(offset)
    memory.seek(start)
    original = file.read(end - start - 4096)
    loaded = memory.read(len(original))
print(sum(loaded[m.start() - 5] == 0xE9 for m in re.finditer(b"\x0f\xa2", original)))
"""


@pytest.mark.parametrize("option", ["", "--no-patching"])
def test_the_dynamic_loader_jumps_to_answers(option: str, differential: Differential) -> None:
    """In the second program that it loads, after the shell itself. (Nothing in front of a cpuid is
    a jump in the file.)"""
    script = f"{sys.executable} -c '{LOADER_TEXT}'; true"
    outcome = differential.inside(["sh", "-c", script], [option] if option else [])
    found = int(outcome.stdout)
    assert found == 0 if option else found > 3
