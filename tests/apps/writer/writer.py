#!/usr/bin/env python3
"""Writes all the time: a row with the next number into an SQLite database, committed one by one.

`GET /` answers with the last number that was committed. systemd listens for it (LISTEN_FDS).
"""

import os
import socket
import sqlite3
import threading

LAST = [0]


def write():
    """Inserts 1, 2, 3… for ever."""
    database = sqlite3.connect(os.path.join(os.environ["DATA_DIR"], "rows.db"), timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, text TEXT)")
    LAST[0] = database.execute("SELECT coalesce(max(n), 0) FROM row").fetchone()[0]
    while True:
        with database:
            database.execute("INSERT INTO row VALUES (?, ?)", (LAST[0] + 1, "x" * 200))
        LAST[0] += 1


threading.Thread(target=write, daemon=True).start()
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        body = str(LAST[0])
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
