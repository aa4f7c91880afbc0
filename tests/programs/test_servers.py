"""redis and nginx with their clients, all in one sandbox."""

from __future__ import annotations

import os
import re

from harness import Differential, needs

REDIS = """
redis-server --port 7391 --save '' --appendonly yes --dir . --logfile log --daemonize no >/dev/null &
for n in $(seq 100); do redis-cli -p 7391 ping 2>/dev/null | grep -q PONG && break; sleep 0.1; done
c="redis-cli -p 7391"
$c set key value; $c get key; $c incr n; $c incr n; $c lpush l a b c; $c lrange l 0 -1; $c expire key 100; $c ttl key
$c set short x px 50; sleep 0.2; $c get short; $c eval 'return redis.call("get", "n")' 0; $c hset h f v; $c hgetall h
seq 200 | sed 's/.*/set k& v&/' | $c --pipe | tail -n 1; $c dbsize; $c save; $c bgrewriteaof; sleep 0.5; ls
timeout 1 $c subscribe ch > sub & sleep 0.4; $c publish ch message; wait $!; cat sub
redis-benchmark -p 7391 -n 500 -c 10 -q -t set,get,lpush 2>&1 | tr '\\r' '\\n' | grep -o '^[A-Z]*: [0-9.]* requests per second' | sed 's/: .*//'
redis-benchmark -p 7391 -n 2000 -c 5 -P 16 -q -t set 2>&1 | tr '\\r' '\\n' | grep -c 'requests per second'
$c info server | grep -c redis_version; $c nosuch; $c shutdown nosave; wait; $c ping; echo $?
"""

NGINX = """
worker_processes 2; daemon off; pid {d}/pid; error_log {d}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {d}/access.log; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f;
  uwsgi_temp_path {d}/u; scgi_temp_path {d}/s; sendfile on; gzip on;
  server {{ listen 127.0.0.1:7392; root {d}/www;
    location /proxy/ {{ proxy_pass http://127.0.0.1:7393/; }} location /code {{ return 418 "teapot\\n"; }} }}
  server {{ listen 127.0.0.1:7393; listen unix:{d}/sock; root {d}/www; }}
}}
"""

CURL = """
nginx -c $PWD/nginx.conf -p $PWD 2>err & p=$!
for n in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:7392/small && break; sleep 0.1; done
u=http://127.0.0.1:7392
curl -s $u/small; curl -s $u/large | md5sum; curl -s -r 5-9 $u/small; echo; curl -s -o /dev/null -w '%{http_code}\\n' $u/nosuch
curl -s $u/proxy/small; curl -s $u/code; curl -sI $u/small | grep -i content-length; curl -s --unix-socket sock http://x/small
curl -s --compressed $u/small; for n in $(seq 10); do curl -s $u/large -o out$n & done; wait $(jobs -p | tail -n +2); cat out* | wc -c
curl -s $u/small $u/small $u/small | md5sum; curl -s -d 'post' $u/small | grep -c 405
kill -HUP $p; sleep 0.5; curl -s $u/small; wc -l < access.log; kill -QUIT $p; wait $p; echo $?; curl -s $u/small; echo $?; cat err
"""


def test_redis(differential: Differential) -> None:
    needs("redis-server", "redis-cli", "redis-benchmark")
    differential(
        ["bash", "-c", REDIS],
        timeout=90,
        change=lambda text: re.sub(r"dir\.\w+|\d+\.\d+ seconds", "", text),
        expect="LPUSH\n1\n1\n",
    )


def test_nginx_and_curl(differential: Differential) -> None:
    needs("nginx", "curl")
    user = "user root; " if os.geteuid() == 0 else ""  # nobody else may look into the directory
    differential.write("nginx.conf", user + NGINX.format(d=differential.directory))
    differential.write("www/small", "a small file of text\n")
    differential.write("www/large", "0123456789abcdef" * 65536)
    differential.directory.chmod(0o755)
    differential(["bash", "-c", CURL], timeout=90, expect="a small file of text\n")
