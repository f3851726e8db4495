#!/usr/bin/env python3
"""An app as frameworks make them: many modules and a table of 40 MB before the first answer, and only a
little of it used by a small request.

systemd listens for it (LISTEN_FDS). `GET /` answers with a row of the table; `GET /hold/SECONDS` takes its time.
"""

import asyncio, ctypes, decimal, email, html, http.server, json, logging.config, socket, sqlite3, ssl  # noqa: F401,E401
import time
import unittest, urllib.request, xml.dom.minidom  # noqa: F401,E401

# As rows of a database look: compressible, though not to nothing.
ROWS = [f"row {n} of a table, {n * 2654435761 % 4294967296:08x}" * 5 for n in range(150_000)]


class Fat(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        words = self.path.split("/")
        if words[1] == "hold":
            time.sleep(float(words[2]))
        body = ROWS[42].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "client"


class Server(http.server.ThreadingHTTPServer):
    """Takes connections from the socket that systemd made."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("", 0), Fat, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=3)

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("unix", 0)


Server().serve_forever()
