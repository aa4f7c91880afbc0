"""node, java, go and rust: runtimes with threads, timers and sockets of their own making."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import Differential, needs

NODE = """
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs'), http = require('http'), cp = require('child_process'), zlib = require('zlib'), crypto = require('crypto');
if (!isMainThread) {
  let s = 0; for (let i = 0; i < workerData; i++) s += i;
  parentPort.postMessage(s);
} else (async () => {
  const worker = n => new Promise((ok, no) => { const w = new Worker(__filename, { workerData: n }); w.on('message', ok); w.on('error', no); });
  console.log(await Promise.all([1000, 2000, 3000, 4000].map(worker)));
  const shared = new Int32Array(new SharedArrayBuffer(4)); console.log(Atomics.wait(shared, 0, 0, 50));
  const server = http.createServer((q, r) => r.end('path ' + q.url)).listen(0, '127.0.0.1');
  await new Promise(ok => server.on('listening', ok));
  const get = p => new Promise(ok => http.get({ port: server.address().port, path: p, host: '127.0.0.1' }, r => { let b = ''; r.on('data', d => b += d); r.on('end', () => ok(b)); }));
  console.log(await Promise.all(['/a', '/b', '/c'].map(get))); server.close();
  console.log(cp.execSync('echo child; exit 0').toString(), cp.spawnSync('sh', ['-c', 'cat; exit 3'], { input: 'in' }).status);
  const p = cp.spawn('cat'); p.stdin.end('streamed'); p.stdout.on('data', d => console.log('' + d)); await new Promise(ok => p.on('close', c => { console.log(c); ok(); }));
  fs.writeFileSync('f', 'x'.repeat(100000)); console.log((await fs.promises.readFile('f')).length, fs.statSync('f').size, fs.readdirSync('.').sort());
  fs.mkdirSync('d/e', { recursive: true }); fs.renameSync('f', 'd/e/f'); fs.rmSync('d', { recursive: true }); try { fs.readFileSync('nosuch'); } catch (e) { console.log(e.code); }
  console.log(zlib.gunzipSync(zlib.gzipSync('zipped')).toString(), crypto.createHash('sha1').update('x').digest('hex'), await new Promise(ok => crypto.pbkdf2('a', 'b', 1000, 8, 'sha1', (e, k) => ok(k.toString('hex')))));
  console.log(await new Promise(ok => setTimeout(() => ok('timer'), 20)), await new Promise(ok => setImmediate(() => ok('immediate'))));
  process.on('SIGUSR2', () => { console.log('SIGUSR2'); process.exit(6); }); process.kill(process.pid, 'SIGUSR2'); setTimeout(() => {}, 5000);
})();
"""

JAVA = """
import java.io.*; import java.net.*; import java.nio.file.*; import java.util.*; import java.util.concurrent.*; import java.util.concurrent.atomic.*;
public class Main {
    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8); AtomicLong sum = new AtomicLong(); List<Future<Integer>> all = new ArrayList<>();
        for (int i = 0; i < 100; i++) { final int n = i; all.add(pool.submit(() -> { sum.addAndGet(n); Thread.sleep(1); return n * n; })); }
        long squares = 0; for (Future<Integer> f : all) squares += f.get(); System.out.println(sum + " " + squares); pool.shutdown();
        Thread[] threads = new Thread[50]; int[] count = new int[1]; Object lock = new Object();
        for (int i = 0; i < 50; i++) { threads[i] = new Thread(() -> { for (int j = 0; j < 1000; j++) synchronized (lock) { count[0]++; } }); threads[i].start(); }
        for (Thread t : threads) t.join(); System.out.println(count[0]);
        try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            Thread t = new Thread(() -> { try (Socket s = server.accept()) { s.getOutputStream().write("from server\\n".getBytes()); } catch (IOException e) { e.printStackTrace(); } }); t.start();
            try (Socket c = new Socket(server.getInetAddress(), server.getLocalPort())) { System.out.println(new BufferedReader(new InputStreamReader(c.getInputStream())).readLine()); } t.join(); }
        Path p = Files.createTempFile(Path.of("."), "x", "y"); Files.writeString(p, "content"); System.out.println(Files.readString(p) + Files.size(p)); Files.delete(p);
        Process child = new ProcessBuilder("sh", "-c", "echo child; exit 5").start(); System.out.println(new String(child.getInputStream().readAllBytes()) + child.waitFor());
        byte[][] garbage = new byte[100][]; for (int i = 0; i < 3000; i++) garbage[i % 100] = new byte[100000]; System.gc(); System.out.println("collected");
        try { int[] a = null; System.out.println(a[0]); } catch (NullPointerException e) { System.out.println("null"); }
        try { deep(0); } catch (StackOverflowError e) { System.out.println("overflow"); }
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(1); System.out.println(timer.schedule(() -> "scheduled", 30, TimeUnit.MILLISECONDS).get()); timer.shutdown();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook"))); System.out.println(System.getProperty("os.name") + System.getProperty("os.arch")); System.exit(3);
    }
    static int deep(int n) { return deep(n + 1) + 1; }
}
"""

GO = """
package main
import ("fmt"; "io"; "net"; "net/http"; "os"; "os/exec"; "os/signal"; "runtime"; "sort"; "sync"; "syscall"; "time")
func main() {
	var wg sync.WaitGroup; var mu sync.Mutex; total := 0; ch := make(chan int)
	for i := 0; i < 100; i++ { wg.Add(1); go func(n int) { defer wg.Done(); for j := 0; j < 100; j++ { mu.Lock(); total += n; mu.Unlock(); if j%10 == 0 { runtime.Gosched() } } }(i) }
	wg.Wait(); fmt.Println(total)
	for i := 0; i < 5; i++ { go func(n int) { time.Sleep(time.Duration(n) * 2 * time.Millisecond); ch <- n }(i) }
	got := []int{}; for i := 0; i < 5; i++ { got = append(got, <-ch) }; sort.Ints(got); fmt.Println(got)
	select { case <-time.After(20 * time.Millisecond): fmt.Println("after"); case <-ch: }
	t := time.NewTicker(3 * time.Millisecond); for i := 0; i < 3; i++ { <-t.C }; t.Stop(); fmt.Println("ticks")
	l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) }); go http.Serve(l, nil)
	for i := 0; i < 10; i++ { wg.Add(1); go func(n int) { defer wg.Done(); r, err := http.Get(fmt.Sprintf("http://%s/%d", l.Addr(), n)); if err != nil { panic(err) }; b, _ := io.ReadAll(r.Body); r.Body.Close(); mu.Lock(); total += len(b); mu.Unlock() }(i) }
	wg.Wait(); fmt.Println(total)
	out, err := exec.Command("sh", "-c", "echo child; exit 4").Output(); fmt.Printf("%q %v\\n", out, err)
	os.WriteFile("f", []byte("data"), 0o600); b, _ := os.ReadFile("f"); _, err = os.Stat("nosuch"); e, _ := os.ReadDir("."); fmt.Println(string(b), err, len(e) > 0)
	c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGUSR1); syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); fmt.Println(<-c)
	func() { defer func() { fmt.Println(recover()) }(); var p *int; fmt.Println(*p) }()
	spin := make(chan bool); go func() { x := 0; for { x++ } }(); go func() { runtime.GC(); spin <- true }(); fmt.Println(<-spin, runtime.GOOS, runtime.GOARCH)
	os.Exit(7)
}
"""

RUST = """
use std::{collections::HashMap, env, fs, io::{Read, Write}, net::{TcpListener, TcpStream}, process, sync::{mpsc, Arc, Condvar, Mutex}, thread, time::{Duration, Instant}};
fn main() {
    let total = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..10).map(|n| { let t = total.clone(); thread::spawn(move || { for _ in 0..1000 { *t.lock().unwrap() += n; } }) }).collect();
    for t in threads { t.join().unwrap(); }
    println!("{}", total.lock().unwrap());
    let (tx, rx) = mpsc::channel(); for n in 0..5 { let tx = tx.clone(); thread::spawn(move || { thread::sleep(Duration::from_millis(n)); tx.send(n).unwrap() }); } drop(tx);
    let mut got: Vec<u64> = rx.iter().collect(); got.sort(); println!("{:?}", got);
    let pair = Arc::new((Mutex::new(false), Condvar::new())); let p = pair.clone(); thread::spawn(move || { *p.0.lock().unwrap() = true; p.1.notify_one(); });
    let mut ready = pair.0.lock().unwrap(); while !*ready { ready = pair.1.wait(ready).unwrap(); } println!("ready");
    let l = TcpListener::bind("127.0.0.1:0").unwrap(); let a = l.local_addr().unwrap();
    let t = thread::spawn(move || { let (mut s, _) = l.accept().unwrap(); s.write_all(b"tcp").unwrap(); });
    let mut s = String::new(); TcpStream::connect(a).unwrap().read_to_string(&mut s).unwrap(); t.join().unwrap(); println!("{s}");
    fs::write("f", "text").unwrap(); println!("{} {:?}", fs::read_to_string("f").unwrap(), fs::read("nosuch").unwrap_err().kind());
    let o = process::Command::new("sh").args(["-c", "echo $X; exit 2"]).env("X", "env").output().unwrap(); println!("{:?}", o);
    let start = Instant::now(); thread::sleep(Duration::from_millis(20)); println!("{}", start.elapsed() >= Duration::from_millis(20));
    let mut m = HashMap::new(); m.insert(1, 2); println!("{:?} {}", m, env::args().count());
    let r = thread::spawn(|| { if true { panic!("thread panics") } }).join(); println!("{}", r.is_err());
    fn deep(n: u64) -> u64 { let a = [n; 100]; if n == 0 { 0 } else { deep(n - 1) + a[(n % 100) as usize] } } println!("{}", deep(1000));
    process::exit(8);
}
"""


def test_node_with_worker_threads(differential: Differential) -> None:
    needs("node")
    differential.write("main.js", NODE)
    differential(["node", "main.js"], status=6, timeout=90)


def test_java_compiles_and_runs_threads(differential: Differential) -> None:
    needs("javac", "java")
    differential.write("Main.java", JAVA)
    differential("javac Main.java && java -Xmx256m Main; echo $?", timeout=150, expect="hook\n3\n")


@pytest.fixture
def go_environment(differential: Differential) -> None:
    """The host's build cache is read-only inside but found: nothing of the standard library is built again."""
    cache = Path(os.environ.get("GOCACHE") or Path.home() / ".cache/go-build")
    differential.env.update(
        GOCACHE=str(cache),
        GO111MODULE="off",
        GOFLAGS="-mod=mod",
        GOTOOLCHAIN="local",
        CGO_ENABLED="0",
    )


@pytest.mark.usefixtures("go_environment")
def test_go_program(differential: Differential) -> None:
    needs("go")
    differential.write("main.go", GO)
    build = differential.native(["go", "build", "-o", "program", "main.go"], timeout=240)
    assert build.status == 0, build.stderr
    differential(["./program"], status=7)


def test_rust_program(differential: Differential) -> None:
    needs("rustc")
    differential.write("main.rs", RUST)
    differential(
        "rustc -O -o program main.rs && ./program; echo $?",
        timeout=150,
        expect="ready\ntcp\n",
        change=lambda text: "\n".join(
            line for line in text.splitlines() if "panicked at" not in line
        ),
    )
