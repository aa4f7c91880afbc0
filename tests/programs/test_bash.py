"""bash: the language, and what it asks of processes, descriptors and signals."""

from __future__ import annotations

import re

from harness import Differential, needs

BASH = ["bash", "--norc"]

LANGUAGE = [
    "echo ${BASH_VERSINFO[0]}; a=(x y z); echo ${a[1]} ${#a[@]}; declare -A m=([k]=v); echo ${m[k]}",
    "cat <<< here-string; cat <<-E\n\tindented $((2**10))\n\tE",
    "diff <(printf '1\\n2\\n') <(printf '1\\n3\\n'); echo $?",
    "tee >(tr a-z A-Z >up) <<< word; sleep 0.2; cat up",
    "mapfile -t lines < <(seq 3); echo ${lines[2]}; readarray x <<< a; echo ${x[0]}",
    "coproc cat; echo through >&${COPROC[1]}; read -u ${COPROC[0]} l; echo $l",
    "exec {fd}>f; echo x >&$fd; exec {fd}>&-; cat f",
    "for ((i=0;i<3;i++)); do printf '%d ' $i; done; echo; echo {a..c}{1,2}",
    "[[ abc =~ a(.)c ]] && echo ${BASH_REMATCH[1]}; shopt -s extglob; case abc in @(abc|d)) echo glob;; esac",
    "f() { return 3; }; f; echo $?; set -u; echo $undefined",
    "set -eE; trap 'echo ERR $?' ERR; false; echo no",
    "printf -v v '%05.2f' 3.14159; echo $v; printf '%q\\n' 'a b'; printf '%(%Y)T\\n' 0",
    "x=abcdef; echo ${x:1:3} ${x/cd/-} ${x^^} ${x%ef} ${#x}",
    "echo $(( 7 / 2 )) $(( 1 << 40 )) $(( 16#ff ))",
    "(time true) 2>&1 | sed 's/[0-9.]*s$//'; TIMEFORMAT=t; time sleep 0.05",
    "compgen -b | head -n 3; type -t cd ls if; hash -r; command -v bash | sed 's,.*/,,'",
    "select x in a b; do echo $x; break; done <<< 2",
    "echo $SHLVL $BASHPID | wc -w; (echo $BASHPID) | grep -c .; echo ${PIPESTATUS[@]}; false | true; echo ${PIPESTATUS[@]}",
    "read -t 0.1 x; echo $?; read -t 0.2 y < <(sleep 5); echo $((r=$?>128))",
    "read -n 3 x <<< abcdef; echo $x; read -d : y <<< 'p:q'; echo $y; IFS=, read a b <<< '1,2'; echo $b",
]

PROCESSES = [
    "trap 'echo got $?' USR1; kill -USR1 $$; echo then; trap - USR1; kill -USR1 $$; echo never",
    "trap 'echo int' INT; kill -INT $$; echo after",
    "trap '' TERM; kill -TERM $$; echo ignored; bash -c 'kill -TERM $$; echo inherited'",
    "trap 'echo exit $?' EXIT; exit 4",
    "trap 'echo sub' EXIT; (exit 1); echo $?; (trap 'echo in' EXIT)",
    "trap 'echo chld' CHLD; /bin/true; /bin/true; wait; echo end",
    "(sleep 0.1; kill -HUP $$) & trap 'echo hup; exit 9' HUP; while :; do sleep 0.05; done",
    "sleep 20 & kill %1; wait %1; echo $?",
    "for i in 1 2 3 4 5; do (exit $i) & done; wait; echo $?",
    "(sleep 0.1; exit 3) & (exit 4) & wait -n; echo $?; wait -n; echo $?; wait -n; echo $?",
    "sleep 0.3 & jobs; jobs -p | wc -l; disown; jobs; echo $!  | grep -c .",
    "set -m; sleep 5 & kill -STOP %1; sleep 0.2; jobs; kill -CONT %1; sleep 0.1; jobs; kill %1; wait %1 2>/dev/null; echo $?",
    "set -m; (kill -STOP $BASHPID; echo resumed) & sleep 0.3; fg %1; echo $?",
    "yes | head -n 2; echo ${PIPESTATUS[0]}",
    "bash -c 'kill -SEGV $$'; echo $?; bash -c 'kill -PIPE $$'; echo $?; bash -c 'kill -KILL $$'; echo $?",
    "exec 2>&1; nosuch; echo $?; /etc; echo $?; ./nosuch; echo $?; touch n; ./n; echo $?",
    "exec true; echo not here",
    "exec sh -c 'echo replaced $0 $1' a b",
    "ulimit -n 50; ulimit -n; ulimit -Hn; ulimit -Sn 20; exec 30</dev/null; echo $?; exec 9</dev/null; echo $?",
    "ulimit -f 1; dd if=/dev/zero of=big bs=1024 count=10 2>/dev/null; echo $?; stat -c %s big",
    "ulimit -c; ulimit -s; ulimit -t; ulimit -a | wc -l",
    "ulimit -v 200000; ulimit -v; for i in 1 2 3 4 5 6; do perl -e '$x = \"a\" x ($ARGV[0] << 20); print 1' "
    "60 2>/dev/null; echo $?; perl -e '$x = \"a\" x ($ARGV[0] << 20); print 1' 900 2>/dev/null; echo $?; done",
    "ulimit -d 100000; ulimit -d; perl -e '$x = \"a\" x ($ARGV[0] << 20); print 1' 400 2>/dev/null; echo $?",
    "ulimit -t 1; bash -c 'while :; do :; done'; echo $?",
    "umask; umask 077; echo x >f; stat -c %a f; umask -S",
    "cd /tmp; cd - | sed 's,.*/,,'; pushd / >/dev/null; popd | sed 's,.*/,,'; mkdir -p a; cd -P a; pwd | sed 's,.*/,,'",
    "set -o noclobber; echo a >f; echo b >f; echo $?; echo c >|f; cat f",
    "cat nosuch > out 2>&1; cat out; { echo a; echo b >&2; } >o 2>e; cat e o; echo x | tee /dev/stderr",
    "echo hi > /dev/full; echo $?; cat < /dev/null; head -c 4 /dev/zero | od -An -tx1; echo to >/dev/stdout",
    "exec 5<>f; echo abc >&5; cat <&5; exec 5<f; read -u 5 x; echo $x; ls -l /proc/self/fd/5 | sed 's/.*-> //;s,.*/,,'",
    "echo a > /dev/tcp/127.0.0.1/1; echo $?",
    "i=0; while ((i<40)); do x=$(echo $i); ((i++)); done; echo $x",
    'a=$(for i in $(seq 20); do echo $i | cat & done; wait); echo "$a" | sort -n | tail -n 1',
    "kill -l | head -n 2; kill -l 15; kill -0 $$; echo $?; kill -0 999999; echo $?; kill -99 $$; echo $?",
    "times | wc -l; suspend 2>&1; echo $?; echo $- | tr -d '\\n' | wc -c; echo $UID $EUID ${GROUPS[0]} | wc -w",
    "test -t 0 || echo no tty; [ -r /etc/passwd -a ! -w /proc/version ] && echo ok; [ -p /dev/stdin ] < <(:) && echo pipe",
]


def without_pids(text: str) -> str:
    """bash names the process that a signal killed, in a column of its own width."""
    return re.sub(r"(line \d+:) +\d+ ", r"\1 PID ", text)


def test_language(differential: Differential) -> None:
    needs("bash")
    differential.snippets(BASH, LANGUAGE)


def test_processes(differential: Differential) -> None:
    needs("bash", "perl")
    differential.snippets(BASH, PROCESSES, without_pids)


def test_script_on_standard_input(differential: Differential) -> None:
    needs("bash")
    differential(["bash"], stdin="x=1\nread y\nvalue\necho $x $y\ncat\nrest of input\n")


def test_arguments_and_status(differential: Differential) -> None:
    needs("bash")
    differential(
        ["bash", "-c", 'printf "<%s>" "$@"; exit 42', "name", "", "a b", "*", "é"], status=42
    )


def test_death_by_signal_is_passed_on(differential: Differential) -> None:
    needs("bash")
    differential(["bash", "-c", "kill -TERM $$"], status=143)
