"""busybox: its shell and its applets."""

from __future__ import annotations

from harness import Differential, needs

ASH = ["busybox", "ash"]

SHELL = [
    "echo hello; false; echo $?",
    "echo a b c | tr a-z A-Z | sed 's/B/x/'",
    "cat <<END\nvalue $((6*7)) $(echo inner)\nEND",
    "cat <<'END'\n$raw `text`\nEND",
    "x=1; (x=2; echo $x); echo $x",
    "trap 'echo trapped' USR1; kill -USR1 $$; echo after",
    "trap 'echo bye' EXIT; exit 3",
    "sleep 0.1 & wait $!; echo $?",
    "(exit 7) & wait $!; echo $?",
    "sh -c 'kill -TERM $$'; echo $?",
    "sh -c 'kill -9 $$'; echo $?",
    "set -e; false; echo not reached",
    "for i in 1 2 3; do echo $i; done | while read n; do echo got $n; done",
    "f() { local a=$1; echo f $a; return 5; }; f x; echo $?",
    "case abc in a*) echo yes;; *) echo no;; esac",
    "echo one >f; echo two >>f; cat <f; wc -c <f",
    "exec 3>out; echo to3 >&3; exec 3>&-; cat out; echo x >&3",
    "nosuchprogram; echo $?",
    "/etc/passwd; echo $?",
    "/; echo $?",
    "cd /nowhere; echo $?",
    "yes | head -n 3",
    "umask 027; touch a; mkdir d; stat -c '%a %n' a d",
    "ulimit -n 100; ulimit -n",
    "printf '%s-%d-%x\\n' a 10 255",
    'read a b <<E\none two three\nE\necho "$b"',
    "getopts ab: o -b val; echo $o $OPTARG",
    "true | false | true; echo $?",
    "set -o pipefail; true | false | true; echo $?",
    "mkfifo p; echo through >p & cat p; wait",
    "test -f /etc/passwd && test -d /etc && ! test -e /nope && echo ok",
    "echo $PPID | grep -c '[0-9]'; echo $0",
    "cd /usr/bin/.. && pwd && cd - >/dev/null; pwd | sed 's,.*/,,'",
    "{ echo out; echo err >&2; } 2>&1 | sort",
    "echo *; touch b a c; echo *; echo [ab]",
    "time -p true 2>&1 | sed 's/[0-9.]*$//'",
]

FILES = [
    "echo x >a; cp a b; cmp a b; mv b c; ls; rm a c; ls -A",
    "mkdir -p d/e/f; touch d/e/f/x; find d | sort; rm -r d; ls",
    "ln -s target l; readlink l; ls -l l | sed 's/.* l/l/'; ln a b; echo $?",
    "echo x >a; ln a b; stat -c '%h %s %F' a; stat -c '%h' b; rm a; stat -c %h b",
    "touch -d '2001-02-03 04:05:06' f; stat -c '%Y %X' f; date -u -r f",
    "chmod 4751 . ; stat -c %a .; touch f; chmod u=rw,go= f; ls -l f | cut -c1-10",
    "dd if=/dev/zero of=z bs=1000 count=3 2>/dev/null; stat -c %s z; truncate -s 5 z; wc -c z",
    "dd if=/dev/zero bs=1 count=0 2>&1 | head -n 2",
    "mkdir d; touch d/f; rmdir d; echo $?; rm d; echo $?",
    "mkdir -p t/a; echo 1 >t/a/x; echo 2 >t/y; tar cf t.tar t; rm -r t; tar xf t.tar; find t -type f | sort | xargs cat",
    "echo data >f; gzip f; ls; gunzip f.gz; cat f; bzip2 f; bunzip2 f.bz2; cat f",
    "echo abc >f; md5sum f; sha1sum f; sha256sum f; cksum f; sum f",
    "mktemp -d XXXXXX | grep -c .; ls | wc -l",
    "install -d -m 700 q; stat -c %a q; echo x | tee q/f; cat q/f",
    "du -s . | cut -f1 | grep -c '[0-9]'; df . | wc -l",
    "split -b 4 - <<E\nabcdefghij\nE\ncat xaa; ls",
    "mkdir a; cd a; rmdir ../a; touch x; echo $?; pwd | sed 's,.*/,,'",
    "touch 'a b' '-c' ; ls; rm -- -c; ls",
    "mkdir r; chmod 0 r; ls -ld r | cut -c1-10",
    "echo x >f; cat f f/y; echo $?; ls f/; echo $?",
    "cat . ; echo $?; echo x > . ; echo $?",
    "mknod p p; stat -c %F p; test -p p && echo fifo",
    "cp -a /etc/hostname h; stat -c %s h | grep -c .; diff /etc/hostname h && echo same",
    "flock f -c 'echo locked'; sync; fsync f",
    "realpath ../$(basename $PWD)/./x | sed 's,.*/,,'; basename /a/b.c .c; dirname /a/b/c",
    "touch a; setfattr x a 2>/dev/null; chown $(id -u):$(id -g) a; stat -c '%u %g' a | grep -c .",
]

TEXT = [
    "seq 10 | sort -rn | head -n 3; seq 5 | tac; seq 3 | paste -s -d,",
    "printf 'b 2\\na 1\\nb 2\\n' | sort | uniq -c; printf 'a:b:c\\n' | cut -d: -f2",
    "seq 20 | grep -E '^1.$' | wc -l; echo foo | grep -q bar; echo $?",
    "printf 'x y z\\n' | awk '{print $2, NF; s+=NF} END {print s}'",
    "seq 5 | sed -n '2,4p;$s/5/five/p'; echo aXb | sed 's/X/\\n/'",
    "echo hello | od -c | head -n 2; echo hello | hexdump -C; echo hi | xxd",
    "echo hi | base64; echo aGkK | base64 -d; echo hi | uuencode x | head -n 1",
    "printf 'a\\tb\\n' | expand; echo abcdef | fold -w 2; printf 'a\\nb\\n' | nl",
    "printf '1\\n2\\n' >a; printf '1\\n3\\n' >b; diff a b; comm a b; cmp a b; echo $?",
    "echo abc | rev; echo '2 3 + p' | dc; echo '7/2' | bc",
    "expr 3 + 4; expr abc : 'a\\(.\\)'; factor 360; seq -w 8 10",
    "echo a b c | xargs -n 1 echo item; seq 3 | xargs -I{} echo '<{}>'",
    "tail -n 2 <<E\n1\n2\n3\nE\nprintf '1\\n2\\n3\\n' | tail -c 4; echo abc | head -c 2",
    "printf 'k1 a\\nk2 b\\n' >a; printf 'k1 x\\n' >b; join a b; strings /bin/busybox | grep -c BusyBox | sed 's/.*/n/'",
    "date -u -d @86400 '+%Y-%m-%d %H:%M'; cal 2 2000; TZ=UTC date -d 2000-01-01 +%j",
    "env -i A=1 B=2 env | sort; env -i sh -c 'echo $PATH' | grep -c bin; printenv HOME | sed 's,.*/,,'",
]

PROCESS = [
    "id -u; id -g; whoami; groups | wc -w; logname 2>/dev/null; nproc",
    "nice -n 5 nice; nice; renice 3 $$ >/dev/null; nice",
    "timeout 0.2 sleep 5; echo $?; timeout 5 true; echo $?; timeout -s KILL 0.2 sleep 5; echo $?",
    "sleep 30 & p=$!; kill $p; wait $p 2>/dev/null; echo $?",
    "sleep 30 & p=$!; kill -STOP $p; kill -CONT $p; kill -KILL $p; wait $p 2>/dev/null; echo $?",
    "setsid sh -c 'echo new session'; nohup echo x; usleep 1000",
    "(sleep 0.2; echo late) & echo early; wait",
    "sh -c 'exit 300'; echo $?; sh -c 'exit -1'; echo $?",
    "cat /proc/self/comm; tr '\\0' ' ' </proc/self/cmdline; readlink /proc/self/exe",
    "ls -l /proc/self/fd | wc -l; ls /proc/self/task | wc -l; readlink /proc/self/cwd | sed 's,.*/,,'",
    "grep -c processor /proc/cpuinfo; grep -E '^(Name|State|Threads|SigBlk|SigIgn)' /proc/self/status",
    "which sh; test -t 0; echo $?; tty; mesg 2>/dev/null; echo $?",
    "yes | dd of=/dev/null bs=4096 count=1000 iflag=fullblock 2>/dev/null; echo $?",
    "start-stop-daemon -S -x /bin/true -- ; echo $?; pidof nosuchprogram; echo $?",
    "i=0; while [ $i -lt 30 ]; do /bin/true; i=$((i+1)); done; echo $i",
    "echo 'echo $1 $#' >s; sh s a b; chmod +x s; ./s x; echo $?",
    "printf '#!/bin/cat\\nline\\n' >s; chmod +x s; ./s; printf '#!/nowhere\\n' >t; chmod +x t; ./t; echo $?",
    "touch e; chmod +x e; ./e; echo $?; printf 'junk\\0junk' >e; ./e 2>/dev/null; echo $?",
    "arch; uname -m; hostname | wc -l",
    "nslookup 2>/dev/null; ping -c 1 2>/dev/null; ifconfig lo | grep -o 'inet addr:[0-9.]*'; ip addr show lo | grep -o 'inet [0-9./]*'",
    "echo hello | nc -l -p 4567 >/dev/null & sleep 0.3; nc 127.0.0.1 4567 </dev/null; wait",
    "free | head -n 1 | wc -w; uptime | grep -c load; ps >/dev/null; echo $?",
]


def test_ash_language(differential: Differential) -> None:
    needs("busybox")
    differential.snippets(ASH, SHELL)


def test_applets_on_files(differential: Differential) -> None:
    needs("busybox")
    differential.snippets(ASH, FILES)


def test_applets_on_text(differential: Differential) -> None:
    needs("busybox")
    differential.snippets(ASH, TEXT)


def test_applets_on_processes(differential: Differential) -> None:
    needs("busybox")
    differential.snippets(ASH, PROCESS)
