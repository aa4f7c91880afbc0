"""coreutils, findutils, tar, gzip, sed, awk, grep, perl."""

from __future__ import annotations

from harness import Differential, needs

BASH = ["bash", "--norc"]

COREUTILS = [
    "mkdir -p a/b; touch a/b/c; ls -lR --time-style=+ a/b | sed 's/ [0-9]* [a-z]* [a-z]* / /'; ls -a a",
    "echo x >a; cp -p a b; cp --sparse=always a c; cp -r --reflink=auto a d; ls; cp a nodir/; echo $?",
    "echo x >a; mv a b; mv -n b c; mv c sub/ ; echo $?; mkdir sub; mv c sub; ls sub",
    "ln -s a l; ln -s b l; echo $?; ln -sf b l; readlink l; readlink -f l | sed 's,.*/,,'; ln l2 l; echo $?",
    "touch -t 200001020304.05 f; stat -c '%y %x' f | cut -c1-19; touch -r f g; stat -c %Y g; touch -h -d @1 l; echo $?",
    "d=$(mktemp -d -p /dev/shm); cd $d; for t in 99999999999 -99999999999; do touch -d @$t f; stat -c '%X %Y' f; ls --full-time f | cut -c 1-9; done; rm -r $d",
    "echo abc >f; stat -c '%a %F %s %h %o %b' f; stat -f -c %T . | grep -c .; stat nosuch; echo $?",
    "truncate -s 1M s; stat -c '%s' s; du -k s; dd if=/dev/zero of=s bs=1 seek=100 count=1 conv=notrunc 2>/dev/null; stat -c %s s",
    "dd if=/dev/zero bs=64k count=16 2>/dev/null | sha1sum; dd if=/dev/urandom bs=1 count=8 2>/dev/null | wc -c",
    "seq 1000 | sort -R | sort -n | md5sum; seq 100000 | sort -r -n | head -n 1; seq 3000 | shuf | wc -l",
    "seq 50000 | sort --parallel=2 -S 1M -T . | tail -n 1; ls",
    "printf 'b,2\\na,1\\n' | sort -t, -k2 ; printf 'x\\ny\\n' | tac; seq 10 | split -l 3; cat xad; seq 9 | csplit - 4 ; ls",
    "echo 'a b' | wc; echo abc | cut -b2-; paste -d: <(seq 2) <(seq 3 4); seq 4 | pr -2 -t; echo a | tr -d a | wc -c",
    "sha256sum /etc/passwd > s; sha256sum -c s; b2sum </dev/null; cksum </dev/null; echo x | sha512sum | cut -c1-9",
    "tail -n 1 -f --pid=$$ /etc/hostname & p=$!; sleep 0.3; kill $p; wait $p 2>/dev/null; echo $?",
    "echo 1 >log; (sleep 0.4; echo 2 >>log; sleep 0.4; echo 3 >>log) & timeout 2 tail -f log; echo $?",
    "timeout 0.2 sleep 9; echo $?; timeout --preserve-status 0.2 sleep 9; echo $?; timeout -k 0.1 0.2 sh -c 'trap \"\" TERM; sleep 2; sleep 2' | :; echo ${PIPESTATUS[0]}",
    "nice -n 3 nice; nohup true; stdbuf -oL echo x; env -u HOME printenv HOME; echo $?; nproc --all | grep -c .",
    "mktemp | sed 's/.*/t/'; mktemp -d -p . | wc -l; mkfifo p; stat -c %F p; mknod q p; rm p q; unlink nosuch; echo $?",
    "install -m 640 -D /etc/hostname d/e/f; stat -c %a d/e/f; rmdir -p d; echo $?; shred -u d/e/f; ls d/e",
    "df . | tail -n 1 | wc -w; sync; sync f; echo $?; chown $UID . ; chgrp nosuchgroup .; echo $?; chmod a=,u=rwx .; stat -c %a .",
    "id; id -un; groups; whoami; pinky -f 2>/dev/null | wc -l; who; users; uname -sm; arch; hostid | wc -c; tty; echo $?",
    "date -u -d '2000-01-01 +1 day' +%F; date +%s | wc -c; sleep 0.01; TZ=America/New_York date -d @0; date -u -r /nosuch; echo $?",
    "expr 5 \\* 3; factor 97 98; seq 0.5 0.5 1.5; numfmt --to=iec 123456; printf '%s %c %5.1f\\n' a bcd 2.25; test 1 -lt 2; echo $?",
    "basename a/b.c .c; dirname a/b; realpath --relative-to=/usr /usr/bin; pathchk a; yes y | head -n 1; true; false; echo $?",
    "base32 <<<x; base64 -w 4 <<<hello; fmt -w 10 <<<'a b c d e f g h'; fold -w3 <<<abcdef; od -tx1 <<<hi; comm <(seq 3) <(seq 2 4); join <(echo a 1) <(echo a 2)",
    "echo x >f; chmod 000 f; cat f >/dev/null 2>&1; echo $(( $? == ($UID != 0) )); ls -l f | cut -c1-10; rm -f f; ls",
    "ls /proc/self/fd >/dev/null; ls -d /dev/null /dev/zero /dev/tty /dev/ptmx; stat -c '%F %t %T' /dev/null; ls /sys >/dev/null; echo $?",
    "mkdir d; cd d; rmdir ../d; ls; touch x; pwd -P; echo $?; cd ..; ls",
    "cat /proc/sys/kernel/ostype; cat /proc/filesystems | grep -c tmpfs; head -n 1 /proc/meminfo | grep -c MemTotal; cut -d' ' -f1 /proc/loadavg | grep -c '\\.'",
    "echo abc | dd bs=1 skip=1 count=1 2>/dev/null; echo; head -c 100000 /dev/zero | tee a b | wc -c; cmp a b; wc -c a b",
    "chroot / /bin/echo in; chroot /nosuch true; echo $?; cat /etc/debian_version",
    "umask 0; mkdir -m 1777 t; stat -c %A t; mkdir t; echo $?; touch t/; echo $?; touch nosuch/; echo $?; rm t; echo $?; rm -d t; ls",
    "ls -la --time-style=+%s /etc/passwd /etc/group | cut -d' ' -f1-5; ls -i . | wc -l; ls --color=always -d /usr | od -c | head -n 1",
    "n=$(printf 'x%.0s' {1..255}); touch $n; ls | wc -c; touch ${n}y; echo $?; mkdir -p $(printf 'd/%.0s' {1..100}); find . | wc -l; rm -r d; ls | wc -l",
]

FINDUTILS = [
    "mkdir -p t/{a,b}/{1,2}; touch t/a/1/x t/b/2/y.c; find t | sort; find t -name '*.c'; find t -type d -empty | sort; find t -maxdepth 1 -printf '%f %y %d\\n' | sort",
    "seq 5 | xargs -n 2 echo; seq 5 | xargs -P 3 -I{} sh -c 'sleep 0.05; exit 0'; echo $?; echo a | xargs false; echo $?; printf 'a b\\0c' | xargs -0 -n1 echo",
    "touch a b c; find . -type f -exec echo {} + | wc -w; find . -name a -delete; ls; touch -d @5 b; find . -newer b -type f | wc -l; find / -maxdepth 1 -name etc; find nosuch; echo $?",
    "find /usr/share/doc -type f | wc -l; find /usr/include -name '*.h' | xargs cat | md5sum; find /etc -perm 644 -type f 2>/dev/null | wc -l",
    "find /proc/self/ -maxdepth 1 -name status; find /dev -maxdepth 1 -type c -name null; find . -inum 1; find /tmp -maxdepth 0 -printf '%m\\n'",
]

ARCHIVES = [
    "mkdir -p t/d; echo 1 >t/a; ln -s a t/l; ln t/a t/h; chmod 700 t/d; mkfifo t/p; tar cf x.tar --sort=name t; tar tvf x.tar | cut -c1-10; mv t o; tar xpf x.tar; for d in t o; do find $d -printf '%P %M %n %u %l\\n' | sort > $d.list; done; diff t.list o.list && echo same",
    "mkdir t; seq 10000 >t/f; tar czf x.tgz t; tar tzf x.tgz; tar xzOf x.tgz t/f | md5sum; tar cJf x.txz t 2>/dev/null && tar tf x.txz; tar caf x.tar.bz2 t && tar tf x.tar.bz2",
    "seq 100 >f; gzip -k f; gzip -l f.gz | tail -n 1 | wc -w; zcat f.gz | tail -n 1; gzip -t f.gz; echo $?; gunzip -c <f.gz | md5sum; echo junk | gunzip; echo $?; gzip -9 <f | wc -c",
    "seq 100 >f; xz f; xzcat f.xz | wc; bzip2 -k f 2>&1; xz -d f.xz; bzip2 f; bzcat f.bz2 | wc -l",
    "tar xf nosuch.tar; echo $?; tar cf - /etc/passwd 2>/dev/null | tar tf -; tar cf x.tar --sparse -T /dev/null; echo $?; truncate -s 1M s; tar cSf s.tar s; rm s; tar xf s.tar; stat -c %s s",
    "cd /usr/include; tar cf - linux | (cd - >/dev/null; tar xf -); cd - >/dev/null; diff -r linux /usr/include/linux && echo same; du -s linux | grep -c .",
]

TEXT = [
    "seq 10 | sed -n '3{p;q}'; sed 's/a/b/g;y/xyz/XYZ/' <<<'a x'; seq 3 | sed '2!d'; seq 3 >f; sed -i.bak 's/2/two/' f; cat f f.bak; ls; sed -e '$!N;P;D' f; sed --in-place 1d nosuch; echo $?",
    'awk \'BEGIN{printf "%d %s\\n", 3.7, substr("hello",2,3)}\'; seq 5 | awk \'{s+=$1} END{print s, NR}\'; awk \'BEGIN{"echo cmd"|getline x; print x; print "piped" | "cat"; close("cat"); exit system("exit 3")}\'; echo $?',
    "awk -F: '$3==0{print $1}' /etc/passwd; awk 'BEGIN{while((getline l < \"/etc/hostname\")>0) n++; print n}'; awk '{a[$1]++} END{for(k in a) print k,a[k]}' <<<x; awk 'BEGIN{for(i=0;i<300000;i++)s+=i;print s}'",
    "grep -rn root /etc/passwd | head -n 1; grep -c . /etc/passwd | grep -c .; grep -o 'b[a-z]*' <<<'foo bar baz'; grep nosuch /etc/passwd; echo $?; grep x nosuch; echo $?; grep -P '\\d+' <<<a12; grep -rl include /usr/include/linux | sort | md5sum; echo x | grep -q x; echo $?",
    "diff -u <(seq 3) <(seq 2 4) | tail -n +3; diff3 <(echo a) <(echo b) <(echo a); cmp <(echo a) <(echo b); sdiff -w 20 <(echo a) <(echo b); echo x >f; echo y >g; diff -u f g | patch f --dry-run >/dev/null; echo $?",
]

PERL = [
    'perl -e \'print join(",", map {$_*2} 1..5), "\\n"; printf "%s\\n", scalar reverse "abc"; die "dead\\n"\'; echo $?',
    'perl -e \'my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8, "\\n"; print `echo back`; system("exit 5"); print $?>>8, "\\n"\'',
    'perl -e \'pipe(R,W); if (!fork) { close R; print W "from child\\n"; exit } close W; print <R>; wait; print "$?\\n"\'',
    'perl -e \'$SIG{ALRM}=sub{print "alarm\\n"; exit 2}; alarm 1; 1 while 1\'; echo $?; perl -e \'$SIG{USR1}=sub{print "usr1\\n"}; kill USR1=>$$; print "on\\n"; select(undef,undef,undef,0.1)\'',
    'perl -MSocket -e \'socketpair(A,B,AF_UNIX,SOCK_STREAM,0); syswrite A,"hello"; sysread B,$x,9; print "$x\\n"\'; perl -MIO::Socket::INET -e \'$s=IO::Socket::INET->new(Listen=>1,LocalAddr=>"127.0.0.1") or die; $p=$s->sockport; if(!fork){$c=IO::Socket::INET->new(PeerAddr=>"127.0.0.1:$p"); print $c "tcp\\n"; exit} $a=$s->accept; print <$a>\'',
    'perl -MPOSIX -e \'print POSIX::strftime("%Y", gmtime 0), "\\n"; print POSIX::getpid()==$$, "\\n"; print ((POSIX::uname())[0], "\\n"); setlocale(LC_ALL, ""); print ttyname(0) // "none", "\\n"\'',
    'perl -MFcntl=:flock -e \'open F, ">f"; flock F, LOCK_EX; print F "x\\n"; close F; print -s "f", "\\n"; opendir D, "."; print join(" ", sort readdir D), "\\n"; print ((stat "f")[7], "\\n"); rename "f", "g"; print -e "g" ? 1 : 0, "\\n"; utime 5, 6, "g"; print ((stat "g")[9]); unlink "nosuch" or print "$!\\n"\'',
    'perl -MTime::HiRes=sleep,time -e \'$t=time; sleep 0.1; $d=time-$t; print $d>=0.1 && $d<0.6 ? "ok\\n" : "$d\\n"\'; perl -MDigest::MD5=md5_hex -e \'print md5_hex("a"x1000000), "\\n"\'; perl -e \'open P, "-|", "seq 1000"; $n++ while <P>; print "$n\\n"; close P; exec "echo", "end"\'',
    'perl -Mthreads -e \'@t=map{threads->create(sub{return $_[0]*2}, $_)}1..4; print join(" ",map{$_->join}@t),"\\n"\' 2>&1; perl -e \'$0="renamed"; open F,"/proc/self/cmdline"; print <F>\'; perl -e \'print "$^O $]\\n"; @a=getpwuid($<); print "$a[0]\\n"; print scalar getgrgid(0), "\\n"; print umask, "\\n"\'',
]


def test_coreutils(differential: Differential) -> None:
    differential.snippets(BASH, COREUTILS)


def test_findutils(differential: Differential) -> None:
    differential.snippets(BASH, FINDUTILS)


def test_archives(differential: Differential) -> None:
    needs("tar", "gzip", "xz", "bzip2")
    differential.snippets(BASH, ARCHIVES)


def test_sed_awk_grep_diff(differential: Differential) -> None:
    differential.snippets(BASH, TEXT)


def test_perl(differential: Differential) -> None:
    needs("perl")
    differential.snippets(BASH, PERL)
