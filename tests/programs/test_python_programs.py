"""python3: threads, subprocesses, asyncio, multiprocessing, sqlite3, sockets, venv and pip."""

from __future__ import annotations

import sys
import zipfile

from harness import Differential

PYTHON = sys.executable

THREADS = """
import threading, queue, time, concurrent.futures as cf
q = queue.Queue(); out = []
def work():
    while (n := q.get()) is not None:
        out.append(n * n)
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for n in range(200): q.put(n)
for t in threads: q.put(None)
for t in threads: t.join()
print(sorted(out)[:5], len(out), threading.active_count())
lock, event, total = threading.Lock(), threading.Event(), 0
def add():
    global total
    event.wait()
    for _ in range(1000):
        with lock: total += 1
threads = [threading.Thread(target=add) for _ in range(10)]
for t in threads: t.start()
event.set()
for t in threads: t.join()
print(total)
barrier = threading.Barrier(4)
with cf.ThreadPoolExecutor(4) as pool:
    print(sorted(pool.map(lambda n: barrier.wait() is not None and n, range(4))))
print(threading.Event().wait(0.05), lock.acquire(timeout=0.05))
t = threading.Timer(0.05, lambda: print("timer")); t.start(); t.join()
local = threading.local(); local.x = 1
t = threading.Thread(target=lambda: print(hasattr(local, "x"))); t.start(); t.join()
"""

MANY_THREADS = """
import threading
threading.stack_size(65536)
go, done = threading.Event(), []
def wait(n):
    go.wait(); done.append(n)
threads = [threading.Thread(target=wait, args=(n,)) for n in range(500)]
for t in threads: t.start()
print(threading.active_count(), len(__import__("os").listdir("/proc/self/task")))
go.set()
for t in threads: t.join()
print(len(done), sum(done))
"""

SUBPROCESS = """
import subprocess, os, signal, sys
r = subprocess.run(["sh", "-c", "cat; echo err >&2; exit 3"], input="in", capture_output=True, text=True); print(r)
print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
try: subprocess.run(["sleep", "9"], timeout=0.2)
except subprocess.TimeoutExpired as e: print("timeout")
try: subprocess.run(["nosuchprogram"])
except FileNotFoundError as e: print(e)
try: subprocess.run(["/etc/passwd"])
except PermissionError as e: print(e)
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE); print(p.communicate(b"x" * 300000)[0].count(b"x"))
p = subprocess.Popen(["sleep", "9"], start_new_session=True); os.killpg(p.pid, signal.SIGTERM); print(p.wait())
print(subprocess.check_output("echo $0 $FOO", shell=True, env={"FOO": "bar"}, cwd="/", executable="/bin/bash"))
print(subprocess.run([sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"], capture_output=True, close_fds=True).stdout)
r, w = os.pipe(); print(subprocess.run(["sh", "-c", f"echo through >&{w}"], pass_fds=[w]).returncode, os.read(r, 100))
print(subprocess.run("yes | head -n 1", shell=True, capture_output=True, preexec_fn=lambda: os.nice(2)).stdout)
a = subprocess.Popen(["seq", "100000"], stdout=subprocess.PIPE); b = subprocess.Popen(["tail", "-n", "1"], stdin=a.stdout, stdout=subprocess.PIPE); a.stdout.close(); print(b.communicate()[0])
pid = os.posix_spawn("/bin/echo", ["echo", "spawned"], os.environ); print(os.waitpid(pid, 0)[1])
print(os.system("exit 2"), os.popen("echo popen").read())
pid = os.fork()
if pid == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print([subprocess.call(["true"]) for _ in range(10)])
"""

ASYNCIO = """
import asyncio, signal, os
async def client(port, n):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(b"hello %d\\n" % n); await w.drain()
    line = await r.readline(); w.close(); await w.wait_closed(); return line
async def serve(r, w):
    w.write((await r.readline()).upper()); await w.drain(); w.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(client(port, n) for n in range(20))))
    server.close()
    p = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo got $x; exit 4", stdin=-1, stdout=-1)
    print(await p.communicate(b"input\\n"), p.returncode)
    ps = [await asyncio.create_subprocess_exec("sh", "-c", f"exit {n}") for n in range(8)]
    print([await p.wait() for p in ps])
    try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
    except TimeoutError: print("timeout")
    loop = asyncio.get_running_loop(); fut = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, fut.set_result, "signal")
    os.kill(os.getpid(), signal.SIGUSR1); print(await fut)
    print(await asyncio.to_thread(lambda: "thread"))
    unix = await asyncio.start_unix_server(serve, "sock")
    r, w = await asyncio.open_unix_connection("sock"); w.write(b"unix\\n"); print(await r.readline())
    print(sorted([await f for f in asyncio.as_completed([asyncio.sleep(0.01 * n, n) for n in range(5)])]))
asyncio.run(main())
"""

MULTIPROCESSING = """
import multiprocessing as mp, os, time
from multiprocessing import shared_memory
def square(n): return n * n
def child(q, e, v, c):
    q.put("child"); e.wait()
    with v.get_lock(): v.value += 5
    c.send({"a": [1, 2]}); c.close()
def burn(counter):
    for _ in range(200):
        with counter.get_lock(): counter.value += 1
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        ctx = mp.get_context(method)
        with ctx.Pool(3) as pool: print(method, pool.map(square, range(10)))
        q, e, v = ctx.Queue(), ctx.Event(), ctx.Value("i", 1)
        here, there = ctx.Pipe()
        p = ctx.Process(target=child, args=(q, e, v, there)); p.start()
        print(q.get()); e.set(); print(here.recv()); p.join(); print(v.value, p.exitcode)
    counter = mp.Value("i", 0)
    ps = [mp.Process(target=burn, args=(counter,)) for _ in range(4)]
    for p in ps: p.start()
    for p in ps: p.join()
    print(counter.value)
    p = mp.Process(target=time.sleep, args=(9,)); p.start(); p.terminate(); p.join(); print(p.exitcode)
    shm = shared_memory.SharedMemory(create=True, size=4096)
    if os.fork() == 0:
        shm.buf[:5] = b"shmem"; os._exit(0)
    os.wait(); print(bytes(shm.buf[:5])); shm.close(); shm.unlink()
    with mp.Manager() as m:
        d = m.dict(); p = mp.Process(target=d.update, args=({"k": 1},)); p.start(); p.join(); print(dict(d))
"""

SQLITE = """
import sqlite3, threading, os, multiprocessing as mp
for mode in ("delete", "wal", "memory"):
    db = sqlite3.connect(f"{mode}.db"); print(db.execute(f"pragma journal_mode={mode}").fetchone())
    db.execute("create table t(id integer primary key, name text)")
    with db: db.executemany("insert into t(name) values(?)", [(f"n{i}",) for i in range(500)])
    for i in range(20):
        with db: db.execute("update t set name='x' where id=?", (i,))
    print(db.execute("select count(*), max(name), min(name) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
    try:
        with db: db.execute("insert into t(id) values(1)")
    except sqlite3.IntegrityError as e: print(e)
    db.close()
a = sqlite3.connect("delete.db", timeout=0.1, isolation_level=None); b = sqlite3.connect("delete.db", timeout=0.1, isolation_level=None)
a.execute("begin exclusive")
try: b.execute("select * from t").fetchone()
except sqlite3.OperationalError as e: print(e)
a.execute("rollback"); print(b.execute("select name from t where id=5").fetchone())
def insert(n):
    db = sqlite3.connect("wal.db", timeout=30)
    for i in range(10):
        with db: db.execute("insert into t(name) values(?)", (f"p{n}",))
ps = [mp.Process(target=insert, args=(n,)) for n in range(4)]
for p in ps: p.start()
for p in ps: p.join()
print([p.exitcode for p in ps], sqlite3.connect("wal.db").execute("select count(*) from t where name like 'p%'").fetchone(), sorted(os.listdir(".")))
"""

SENDFILE = """
import os, socket, hashlib, errno, fcntl
def digest(parts):
    h = hashlib.sha256()
    n = 0
    for p in parts:
        h.update(p); n += len(p)
    return n, h.hexdigest()[:12]
def received(s, step):
    while data := s.recv(step): yield data
def err(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
def pair():
    s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); d, _ = s.accept(); return c, d
data = b"".join(b"%07d " % n for n in range(40000))
open("ours", "wb").write(data)
theirs = os.path.join(os.path.dirname(os.__file__), "_pydecimal.py")
for name in ("ours", theirs):
    size = os.stat(name).st_size
    for step in (7, 5000, 1 << 20):
        c, d = pair()
        f = os.open(name, os.O_RDONLY)
        sent = 0
        if os.fork() == 0:
            c.send(b"head")
            while n := os.sendfile(c.fileno(), f, None, size): sent += n
            os.close(f); c.send(b"tail"); os._exit(sent == size)
        c.close(); os.close(f)
        print(d.recv(3, socket.MSG_PEEK), digest(received(d, step)), os.wait()[1] >> 8, name == "ours" or size > 200000)
f = os.open("ours", os.O_RDONLY); os.unlink("ours")
c, d = pair(); print(os.sendfile(c.fileno(), f, 100, 50000), os.lseek(f, 0, 1), os.sendfile(c.fileno(), f, 319990, 50000), os.sendfile(c.fileno(), f, 320000, 50000)); os.close(f); c.close(); print(digest(received(d, 333)))
for name in (theirs, "copy"):
    if name == "copy": open(name, "wb").write(data)
    f = os.open(name, os.O_RDONLY); r, w = os.pipe(); c, d = pair(); r2, w2 = os.pipe(); out = os.open("out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    print(os.splice(f, w, 65536), fcntl.ioctl(r, 0x541B, b"    "), os.lseek(f, 0, 1), err(os.splice, f, w, 10, None, None, 2))
    print(os.read(r, 10), os.splice(r, w2, 30000), os.splice(r2, out, 20000, None, 5), os.splice(r2, c.fileno(), 10000), os.splice(r, c.fileno(), 65536), os.splice(f, w, 20000, 1000), os.splice(r, out, 30000))
    c.close(); print(digest(received(d, 4000)), digest([os.pread(out, 100000, 0)]), os.fstat(out).st_size)
"""

COPIES = """
import os, socket, errno, fcntl, mmap, struct, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def err(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
def raw(f, *a):
    n = f(*a); return n if n >= 0 else errno.errorcode[ctypes.get_errno()]
def drain(fd, step=1 << 20):
    os.set_blocking(fd, False); out = []
    while isinstance(b := err(os.read, fd, step), bytes) and b: out.append(b)
    return len(b"".join(out)), sum(b"".join(out)), b
def pair():
    s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); d, _ = s.accept(); return c, d
open("a", "wb").write(b"".join(b"%07d " % n for n in range(40000))); open("short", "wb").write(b"s" * 100)
f, short, nul = (os.open(n, os.O_RDWR) for n in ("a", "short", "/dev/null")); r, w = os.pipe(); top = (1 << 63) - 1
print([err(os.sendfile, nul, f, *a) for a in ((-1, 5), (top, 60000), (top - 9, 10), (5, top), (400000, 60000), (310000, 20000))], err(os.sendfile, nul, os.open("/proc/version", 0), 1000, 10), err(os.sendfile, w, os.open(".", 0), 0, 60000), err(os.splice, os.open(".", 0), w, 60000))
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
    c, d = socket.socketpair(socket.AF_UNIX, kind); c.setblocking(False)
    print("past the end", err(os.sendfile, c.fileno(), short, 0, 1000), err(os.sendfile, c.fileno(), short, 100, 1000), drain(d.fileno()), err(os.sendfile, c.fileno(), f, 0, 60000), drain(d.fileno()))
c, d = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "cd"); d.bind(("127.0.0.1", 0)); c.connect(d.getsockname())
print("udp", err(os.sendfile, c.fileno(), short, 0, 1000), err(os.sendfile, c.fileno(), short, 100, 1000), drain(d.fileno()))
for c, d in (pair(), socket.socketpair()):
    c.sendall(b"p" * 30000); d.setsockopt(socket.SOL_SOCKET, 42, 0); off = lambda: d.getsockopt(socket.SOL_SOCKET, 42)
    print("peek", len(d.recv(1000, socket.MSG_PEEK)), off(), len(d.recv(300)), off(), len(d.recv(5000)), off(), len(d.recv(10, socket.MSG_PEEK)), off())
dr, dw = os.pipe2(os.O_DIRECT)
print("packets", os.sendfile(dw, f, 0, 20000), [len(os.read(dr, 10000)) for _ in "12"], os.write(dw, b"a" * 100), os.write(dw, b"b" * 50), os.splice(dr, w, 10), os.read(r, 99), os.read(dr, 20), os.read(dr, 99) == b"b" * 50)
libc.mmap.restype = ctypes.c_void_p; at = libc.mmap(None, ctypes.c_size_t(1 << 20), 3, 0x22, -1, ctypes.c_long(0)); libc.munmap(ctypes.c_void_p(at + (1 << 19)), ctypes.c_size_t(1 << 19)); bad = at + (1 << 19)
vec = lambda *v: (b"".join(struct.pack("QQ", *e) for e in v), len(v))
print("vmsplice", raw(libc.vmsplice, w, *vec((at, 100), (bad, 100)), 0), raw(libc.vmsplice, w, *vec((bad, 100)), 0), drain(r))
os.write(w, b"y" * 30000); n = raw(libc.vmsplice, r, *vec((at, 20000), (bad, 20000)), 0); print(raw(libc.vmsplice, r, *vec((bad, 20000)), 0), n > 0, n + drain(r)[0])
c, d = socket.socketpair(); c.setblocking(False); n = raw(libc.write, c.fileno(), ctypes.c_void_p(at + (1 << 18)), ctypes.c_size_t(300000)); print("half bad", n == drain(d.fileno())[0] > 0)
os.utime("a", (1000, 2000)); os.splice(f, w, 20000, 0); print("atime", os.stat("a").st_atime > 2000, drain(r))
watch = libc.inotify_init1(os.O_NONBLOCK); libc.inotify_add_watch(watch, b"a", 3)
for what in (lambda: os.splice(f, w, 20000, 0), lambda: os.splice(r, f, 20000, None, 0), lambda: os.sendfile(nul, f, 0, 20000), lambda: os.sendfile(w, f, 0, 20000)): print("inotify", what(), struct.unpack("iIII", os.read(watch, 16))[1])
"""

SENDFILE_BLOCKED = """
import os, ctypes, signal, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
open("big", "wb").write(bytes(range(256)) * 8000)
f = os.open("big", os.O_RDONLY)
r, w = os.pipe()
signal.signal(signal.SIGALRM, lambda *a: None); signal.siginterrupt(signal.SIGALRM, True)
off = ctypes.c_long(1000); t0 = time.monotonic()
n = libc.sendfile(w, f, ctypes.byref(off), ctypes.c_size_t(200000))
print("pipe at once", n > 60000, n + 1000 == off.value, time.monotonic() - t0 < .5, len(os.read(r, 1 << 20)) == n)
c, d = socket.socketpair()
off = ctypes.c_long(1000); signal.setitimer(signal.ITIMER_REAL, .3)
n = libc.sendfile(c.fileno(), f, ctypes.byref(off), ctypes.c_size_t(2000000))
print("socket", 100000 < n < 2000000, off.value == 1000 + n, os.lseek(f, 0, 1))
got = 0
d.setblocking(False)
try:
    while True: got += len(d.recv(1 << 20))
except BlockingIOError: pass
print(got == n)
signal.siginterrupt(signal.SIGALRM, False)
d.setblocking(True); all_ = []
def reader():
    time.sleep(.2)
    while sum(map(len, all_)) < 2000000: all_.append(d.recv(65536))
x = threading.Thread(target=reader); x.start(); off = ctypes.c_long(5)
n = libc.sendfile(c.fileno(), f, ctypes.byref(off), ctypes.c_size_t(2000000)); x.join(); print(n, off.value, b"".join(all_) == open("big", "rb").read()[5:2000005])
d.setblocking(False); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200000)); off = ctypes.c_long(0)
n = libc.sendfile(c.fileno(), f, ctypes.byref(off), ctypes.c_size_t(2000000)); print("time-out", 100000 < n < 2000000, off.value == n, libc.sendfile(c.fileno(), f, None, ctypes.c_size_t(9)))
"""

SYSTEM = """
import os, sys, stat, time, signal, socket, select, mmap, tempfile, shutil, fcntl, resource, errno, platform, pathlib, glob, struct, pwd, grp, locale, array
print(sys.version_info[:3], platform.system(), platform.machine(), os.cpu_count() > 0, os.path.basename(sys.executable))
def err(f, *a, **k):
    try: return f(*a, **k)
    except OSError as e: return errno.errorcode.get(e.errno)
with open("f", "w+b") as f:
    f.write(b"x" * 10000); f.seek(0); m = mmap.mmap(f.fileno(), 0); m[0:3] = b"abc"; m.flush(); print(f.read(4), len(m)); m.close()
    fcntl.flock(f, fcntl.LOCK_EX); g = open("f"); print(err(fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB)); fcntl.lockf(f, fcntl.LOCK_EX)
    os.truncate(f.fileno(), 5); print(os.fstat(f.fileno()).st_size, os.pread(f.fileno(), 10, 1), os.pwrite(f.fileno(), b"zz", 3), os.sendfile(os.open("g", os.O_CREAT | os.O_WRONLY), f.fileno(), 0, 5))
os.mkdir("d"); os.symlink("d", "l"); os.link("f", "d/h"); os.rename("g", "d/g"); print(sorted(os.listdir("l")), os.readlink("l"), [(e.name, e.is_dir(), e.is_symlink()) for e in sorted(os.scandir("."), key=lambda e: e.name)])
print(err(os.rmdir, "d"), err(os.mkdir, "d"), err(os.open, "nosuch", 0), err(os.unlink, "d"), err(os.rename, "d", "d/x"), err(os.readlink, "f"), err(os.listdir, "f"), err(os.close, 99), err(os.chdir, "f"), err(os.kill, 999999, 0), err(os.symlink, "x", "l"))
os.chmod("f", 0o4640); os.utime("f", ns=(1, 2)); st = os.stat("f"); print(oct(st.st_mode), st.st_mtime_ns, st.st_atime_ns, st.st_nlink, stat.S_ISREG(st.st_mode)); print(err(os.setxattr, "f", "user.k", b"v"), err(os.getxattr, "f", "user.k"), err(os.listxattr, "f"), err(os.getxattr, "f", "user.no"))
a, b = socket.socketpair(); a.sendall(b"x" * 10); print(b.recv(100), select.select([a, b], [a], [], 0) == ([], [a], [])); socket.send_fds(a, [b"fd"], [0]); print(socket.recv_fds(b, 10, 1)[0]); a.close(); print(b.recv(1), err(b.send, b"x"))
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); d, _ = s.accept(); c.sendall(b"y" * 1000000) if os.fork() == 0 and not d.close() and os._exit(c.sendall(b"y" * 1000000) is not None) else None
total = 0
while total < 1000000: total += len(d.recv(65536))
print(total, os.wait()[1]); c.close(); d.close(); print(err(socket.create_connection, ("127.0.0.1", 1)), socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4], socket.inet_ntoa(b"\\x7f\\0\\0\\1"))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.sendto(b"dgram", u.getsockname()); print(u.recv(100)); u.settimeout(0.05); print(err(u.recv, 1)); six = socket.create_server(("::1", 0), family=socket.AF_INET6); print(socket.create_connection(six.getsockname()[:2]).getpeername()[0])
hits = []; signal.signal(signal.SIGALRM, lambda n, f: hits.append(n)); signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02); time.sleep(0.3); signal.setitimer(signal.ITIMER_REAL, 0); print(len(hits) > 5, signal.sigpending(), signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])); os.kill(os.getpid(), signal.SIGUSR1); print(signal.sigpending(), signal.sigwait([signal.SIGUSR1]), signal.sigtimedwait([signal.SIGUSR2], 0.05))
ep = select.epoll(); r, w = os.pipe(); ep.register(r, select.EPOLLIN); print(ep.poll(0.02)); os.write(w, b"x"); print(len(ep.poll(1))); print(resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1000, len(os.times()), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0) == set(range(os.cpu_count())), os.getpgid(0) == os.getpgrp(), os.getsid(0) > 0)
print(pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name, os.path.expanduser("~root"), time.tzname, os.environ["LANG"], sys.getfilesystemencoding(), len(os.urandom(8)), os.isatty(0), err(os.ttyname, 0), err(os.get_terminal_size))
t0 = time.monotonic(); time.sleep(0.1); print(0.1 <= time.monotonic() - t0 < 0.5, abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 1, time.process_time() > 0)
with tempfile.TemporaryDirectory() as d: p = pathlib.Path(d) / "a" / "b"; p.mkdir(parents=True); (p / "x").write_text("hi"); shutil.copytree(d, "copy"); print(sorted(glob.glob("copy/**", recursive=True)), shutil.which("sh"), shutil.disk_usage(".").total > 0)
if hasattr(os, "memfd_create"): fd = os.memfd_create("m"); os.write(fd, b"memfd"); print(os.pread(fd, 9, 0), os.readlink(f"/proc/self/fd/{fd}"), os.get_inheritable(fd))
m = mmap.mmap(-1, 8192); pid = os.fork()
if pid == 0: m[4096:4100] = b"anon"; os._exit(0)
os.waitpid(pid, 0); print(m[4096:4100], os.eventfd_read(os.eventfd(3)) if hasattr(os, "eventfd") else 3); print(os.pidfd_open(os.getpid()) > 0, err(os.copy_file_range, os.open("f", 0), os.open("cfr", os.O_CREAT | os.O_WRONLY), 5), os.posix_fallocate(os.open("fa", os.O_CREAT | os.O_WRONLY), 0, 4096), os.stat("fa").st_size, os.umask(0o22))
"""

CTYPES = """
import ctypes, ssl, hashlib, zlib, bz2, lzma, curses, readline, decimal, uuid, json, http.server, threading, urllib.request, os
print(ctypes.CDLL(None).getpid() == os.getpid(), ctypes.CDLL("libc.so.6").strlen(b"hello"), hashlib.sha256(b"x").hexdigest()[:8], zlib.crc32(b"x"))
CB = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)); a = (ctypes.c_int * 4)(3, 1, 2, 0)
ctypes.CDLL(None).qsort(a, 4, 4, CB(lambda x, y: x[0] - y[0])); print(list(a))
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b"path " + self.path.encode())
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H); threading.Thread(target=s.serve_forever, daemon=True).start()
print([urllib.request.urlopen(f"http://127.0.0.1:{s.server_port}/{n}").read() for n in range(5)]); s.shutdown()
print(ssl.create_default_context().verify_mode, bool(uuid.uuid1()), lzma.decompress(lzma.compress(b"y" * 99))[:2])
"""

FAULT = """
import faulthandler, ctypes, sys
print("before", flush=True)
ctypes.string_at(0)
"""

STORM = """
import os
for round in range(4):
    pids = []
    for n in range(50):
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/sh", ["sh", "-c", f"exit {n}"])
        pids.append(pid)
    print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
try: os.wait()
except ChildProcessError as e: print(e)
"""


def script(differential: Differential, text: str, timeout: float = 60, **more: object) -> None:
    """The program in a file, both ways."""
    differential.write("program.py", text.lstrip("\n"))
    differential([PYTHON, "-B", "program.py"], timeout=timeout, **more)  # type: ignore[arg-type]


def test_threads(differential: Differential) -> None:
    script(differential, THREADS)


def test_500_threads(differential: Differential) -> None:
    script(differential, MANY_THREADS)


def test_subprocess(differential: Differential) -> None:
    script(differential, SUBPROCESS)


def test_asyncio(differential: Differential) -> None:
    script(differential, ASYNCIO)


def test_multiprocessing(differential: Differential) -> None:
    script(differential, MULTIPROCESSING)


def test_sqlite(differential: Differential) -> None:
    script(differential, SQLITE)


def test_system_interfaces(differential: Differential) -> None:
    script(differential, SYSTEM)


def test_extension_modules(differential: Differential) -> None:
    script(differential, CTYPES)


def test_storm_of_200_processes(differential: Differential) -> None:
    script(differential, STORM)


def test_sendfile_and_splice_of_files_of_the_host_and_of_our_own(
    differential: Differential,
) -> None:
    script(differential, SENDFILE)


def test_copies_between_descriptors_at_their_edges(differential: Differential) -> None:
    script(differential, COPIES)


def test_sendfile_that_is_interrupted_while_it_waits(differential: Differential) -> None:
    script(differential, SENDFILE_BLOCKED)


def test_segmentation_fault_is_status_139(differential: Differential) -> None:
    script(differential, FAULT, status=139)


def test_exceptions_and_exit_status(differential: Differential) -> None:
    differential(
        [PYTHON, "-c", "import sys; print('out'); sys.stderr.write('err\\n'); sys.exit(5)"],
        status=5,
    )
    differential([PYTHON, "-c", "1/0"], status=1)


def test_venv_and_pip_install_of_a_wheel(differential: Differential) -> None:
    wheel = differential.directory / "greeter-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("greeter/__init__.py", "def main():\n    print('greetings from a wheel')\n")
        info = "greeter-1.0.dist-info/"
        z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
        z.writestr(
            info + "WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        z.writestr(info + "entry_points.txt", "[console_scripts]\ngreeter = greeter:main\n")
        z.writestr(
            info + "RECORD",
            "greeter/__init__.py,,\n"
            + "".join(
                f"{info}{name},,\n" for name in ("METADATA", "WHEEL", "entry_points.txt", "RECORD")
            ),
        )
    differential(
        f"{PYTHON} -m venv v && v/bin/pip install -q --no-index --no-deps --disable-pip-version-check {wheel.name}"
        " && v/bin/greeter && v/bin/python -c 'import greeter, sys; print(sys.prefix != sys.base_prefix)'"
        " && v/bin/pip list --disable-pip-version-check 2>/dev/null | grep greeter",
        timeout=150,
    )
