#!/usr/bin/env python3
"""Runs in the guest: writes registrations and notes on the raw disk each one that was acknowledged.

    workload.py agent   through the agent's admin socket, as `ten spawn` and `ten rm` do
    workload.py normal  the same rows into a database of its own with synchronous=NORMAL: the control

A note is one sector outside the file system of the same disk, written past the page cache after the
acknowledgement; so in the log of the disk's writes it stands behind all that the acknowledgement promised.
"""
import http.client
import json
import mmap
import os
import socket
import sqlite3
import sys
import time
import uuid

DISK, SECTOR = "/dev/vdb", 512
NOTES = {"agent": 32 << 20, "normal": (32 << 20) + 4096}
OPERATIONS = 240


class Notes:
    def __init__(self, kind):
        self.fd = os.open(DISK, os.O_WRONLY | os.O_DIRECT)
        self.page = mmap.mmap(-1, SECTOR)  # O_DIRECT wants aligned memory.
        self.offset = NOTES[kind]

    def note(self, **what):
        text = json.dumps(what).encode()
        self.page[:] = text + b"\0" * (SECTOR - len(text))
        assert os.pwritev(self.fd, [self.page], self.offset) == SECTOR


class Agent:
    """Registers and removes through the admin socket."""

    def __init__(self):
        self.connection = http.client.HTTPConnection("localhost")
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.connect("/run/tenement/admin.sock")

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def add(self, name):
        body = {"process": "cut", "ids": [name], "start": False}
        return self.ask("POST", "/api/v1/instances", body)["instances"][0]["uuid"]

    def remove(self, name):
        self.ask("DELETE", f"/api/v1/instances/cut:{name}")


class Normal:
    """The same rows in a database that does not wait for the disk at each commit."""

    def __init__(self):
        self.db = sqlite3.connect("/var/lib/tenement/control.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("CREATE TABLE instances (id TEXT PRIMARY KEY, uuid TEXT NOT NULL)")
        os.sync()

    def add(self, name):
        fresh = str(uuid.uuid4())
        self.db.execute("INSERT INTO instances VALUES (?, ?)", (name, fresh))
        return fresh

    def remove(self, name):
        self.db.execute("DELETE FROM instances WHERE id = ?", (name,))


def main(kind):
    store, notes = {"agent": Agent, "normal": Normal}[kind](), Notes(kind)
    begin = time.monotonic()
    for n in range(OPERATIONS):
        # Every fourth operation removes what was made three operations ago.
        if n % 4 == 3:
            store.remove(f"p{n - 3}")
            notes.note(n=n, id=f"p{n - 3}", uuid=None)
        else:
            notes.note(n=n, id=f"p{n}", uuid=store.add(f"p{n}"))
    print(f"{kind}: {OPERATIONS} operations in {time.monotonic() - begin:.1f} s")


main(sys.argv[1])
