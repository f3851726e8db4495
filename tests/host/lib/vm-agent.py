#!/usr/bin/python3
"""The command channel of a VM host: both of its ends.

In the guest a root service runs `vm-agent.py serve PORT`, PORT being a virtio-serial port; outside,
`vm-agent.py call SOCKET TIMEOUT COMMAND...` connects to the socket that qemu ties to that port.
Each message is one line of JSON. To the guest go {"id", "argv"}, then any number of {"id", "stdin"}
with base64 in it, an empty one being the end; back comes {"id", "code", "stdout", "stderr"}.
A serial port carries no connections, so the id is what tells an answer from the remains of a
conversation that was cut short, and each message begins with a line break that ends such remains.
"""

import base64
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 1 << 16


def encode(message):
    return b"\n" + json.dumps(message).encode() + b"\n"


def decode(line):
    """The message in a line, or None for a line that is only a part of one."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "id" in message else None


def feed(pipe, chunks):
    """Copies what the caller sends into a command's standard input; a command need not read it."""
    try:
        while chunk := chunks.get():
            pipe.write(chunk)
        pipe.close()
    except OSError:
        pass


def run(argv, chunks):
    environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
    # Files and not pipes, so that a daemon that the command leaves behind does not delay the answer.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr,
                env=environment, cwd="/", bufsize=0,
            )
            threading.Thread(target=feed, args=(child.stdin, chunks), daemon=True).start()
            code = child.wait()
            # The end for a feeder that waits for more, now that nobody is there to read it.
            chunks.put(b"")
        except OSError as error:
            # The codes are the shell's: 127 for a command that is not there, 126 for one that cannot run.
            code = 127 if isinstance(error, FileNotFoundError) else 126
            stderr.write(f"{error}\n".encode())
        output = {}
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            output[name] = base64.b64encode(file.read()).decode()
    # A command that a signal ended has a negative code in Python, and 128 + signal in a shell.
    return {"code": code if code >= 0 else 128 - code, **output}


def answer(descriptor, lock, request, chunks):
    message = encode({"id": request["id"], **run(request["argv"], chunks)})
    # A write to a port that nobody is connected to waits for the next caller, which skips the answer.
    with lock:
        while message:
            message = message[os.write(descriptor, message):]


def serve(port):
    # One descriptor for both directions: the kernel lets only one open of the port exist at a time.
    descriptor = os.open(port, os.O_RDWR)
    lock, current, chunks, pending = threading.Lock(), None, queue.SimpleQueue(), b""
    while True:
        received = os.read(descriptor, CHUNK)
        if not received:
            # Nobody is connected outside. A read of a port without a peer returns at once, and poll
            # reports a hang-up all the time, so a short nap is the only way to wait for the next one.
            time.sleep(0.02)
            chunks.put(b"")
            current, chunks, pending = None, queue.SimpleQueue(), b""
            continue
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            message = decode(line)
            if message is None:
                continue
            if "argv" in message:
                # There is one caller at a time, so the one before is gone and sends no more.
                chunks.put(b"")
                current, chunks = message["id"], queue.SimpleQueue()
                # A thread for each, because a command whose caller gave up may run for long.
                threading.Thread(target=answer, args=(descriptor, lock, message, chunks), daemon=True).start()
            elif message["id"] == current:
                chunks.put(base64.b64decode(message["stdin"]))


def send_stdin(channel, identity):
    """Passes this process's standard input on, as far as there is one, until it ends."""
    try:
        while chunk := b"" if os.isatty(0) else os.read(0, CHUNK // 2):
            channel.sendall(encode({"id": identity, "stdin": base64.b64encode(chunk).decode()}))
    except OSError:
        # Closed from the start, or the machine went away, which the reading side reports.
        pass
    try:
        channel.sendall(encode({"id": identity, "stdin": ""}))
    except OSError:
        pass


def call(path, timeout, argv):
    if sys.stdin is None:
        # Without this the socket would get the number 0 and be taken for the standard input.
        os.open(os.devnull, os.O_RDONLY)
    end, identity, pending = time.monotonic() + timeout, os.urandom(8).hex(), b""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(timeout)
        channel.connect(path)
        channel.sendall(encode({"id": identity, "argv": argv}))
        # Beside the reading, because a command may end without having waited for its input.
        threading.Thread(target=send_stdin, args=(channel, identity), daemon=True).start()
        while (left := end - time.monotonic()) > 0:
            channel.settimeout(left)
            received = channel.recv(CHUNK)
            if not received:
                raise OSError("the machine went away before it answered")
            if b"\n" not in received:
                pending += received
                continue
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                message = decode(line)
                if message and message["id"] == identity:
                    return message
    raise OSError("timed out")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) >= 5 and sys.argv[1] == "call":
        try:
            done = call(sys.argv[2], float(sys.argv[3]), sys.argv[4:])
        except OSError as error:
            # 255 is what ssh says when it is the connection that failed and not the command.
            print(f"vm-agent: {error}", file=sys.stderr)
            sys.exit(255)
        for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
            if stream is not None and done[name]:
                stream.buffer.write(base64.b64decode(done[name]))
                stream.buffer.flush()
        sys.exit(done["code"])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
