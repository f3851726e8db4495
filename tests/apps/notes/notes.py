#!/usr/bin/env python3
"""A notes app: Python's standard library and one SQLite file.

systemd listens for it (LISTEN_FDS), so it starts with the first request; its notes lie in
$DATA_DIR/notes.db. `GET /` lists notes, `POST /` adds one. On SIGTERM it finishes and exits with 0.
"""

import html
import http.server
import os
import selectors
import signal
import socket
import sqlite3
import threading
import urllib.parse

# First descriptor that systemd passes (sd_listen_fds(3)).
LISTEN_FDS_START = 3

PAGE = """<!doctype html>
<meta charset=utf-8><meta name=viewport content="width=device-width"><title>Notes of {who}</title>
<style>body{{font:1.1em/1.5 system-ui;max-width:34em;margin:3em auto;padding:0 1em}}</style>
<h1>Notes of {who}</h1>
<form method=post><input name=note autofocus required> <button>Add</button></form>
<ul>{notes}</ul>
<p><small>process {pid}; leave me alone for a while and look again</small>
"""


class Notes(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    who = os.environ.get("NOTES_OF", "somebody")

    def handle_one_request(self):
        # Between requests the thread waits for the client, and isn't worth waiting for.
        self.busy = False
        try:
            super().handle_one_request()
        finally:
            if self.busy:
                self.server.leave()

    def parse_request(self):
        self.busy = True
        self.server.enter()
        return super().parse_request()

    def do_GET(self):
        with open_database() as database:
            rows = database.execute("SELECT text FROM note ORDER BY id").fetchall()
        notes = "".join(f"<li>{html.escape(text)}" for (text,) in rows)
        page = PAGE.format(who=html.escape(self.who), notes=notes, pid=os.getpid())
        self.answer(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        form = urllib.parse.parse_qs(self.rfile.read(length).decode())
        with open_database() as database:
            database.executemany("INSERT INTO note (text) VALUES (?)", zip(form.get("note", [])))
        self.answer(303, b"", {"Location": "/"})

    def answer(self, status, body, headers):
        """Sends a whole response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        # A unix socket's peer has no address.
        return "client"


class Server(http.server.ThreadingHTTPServer):
    """Takes connections from the socket that systemd made, and knows how many requests are open."""

    timeout = 0

    def __init__(self):
        super().__init__(("", 0), Notes, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=LISTEN_FDS_START)
        self.open_requests = 0
        self.changed = threading.Condition()

    def enter(self):
        """Counts a request in."""
        with self.changed:
            self.open_requests += 1

    def leave(self):
        """Counts a request out."""
        with self.changed:
            self.open_requests -= 1
            self.changed.notify_all()

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("unix", 0)


def open_database():
    """A connection of one's own for each request, since they run in threads."""
    database = sqlite3.connect(os.path.join(os.environ["DATA_DIR"], "notes.db"))
    database.execute("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT)")
    return database


def main():
    """Serves until SIGTERM."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise SystemExit("notes.py wants its socket from systemd (LISTEN_FDS)")
    server = Server()
    # serve_forever() would notice a signal up to half a second late, and wake twice a second for it.
    wake_up, on_signal = socket.socketpair()
    signal.signal(signal.SIGTERM, lambda *_: on_signal.send(b"!"))
    selector = selectors.DefaultSelector()
    selector.register(server.socket, selectors.EVENT_READ)
    selector.register(wake_up, selectors.EVENT_READ)
    while all(key.fileobj is not wake_up for key, _ in selector.select()):
        server.handle_request()
    with server.changed:
        server.changed.wait_for(lambda: server.open_requests == 0)


if __name__ == "__main__":
    main()
