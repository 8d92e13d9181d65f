"""Counts visitors in redis; `check` asks it as its health check does."""

import json
import os
import socket
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def redis(*words):
    with socket.create_connection((os.environ["CACHE"], 6379), timeout=10) as connection:
        parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
        connection.sendall("".join(parts).encode())
        return connection.makefile().readline().strip()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        visitors = redis("INCR", "visitors") if self.path == "/" else redis("PING")
        token = open("/run/secrets/token").read().strip()
        body = json.dumps({"host": socket.gethostname(), "visitors": visitors.lstrip(":"), "token": token}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print("served", self.path, flush=True)

    def log_message(self, *_):
        pass


if sys.argv[1:] == ["check"]:
    urllib.request.urlopen("http://127.0.0.1:8000/health", timeout=10).read()
else:
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
