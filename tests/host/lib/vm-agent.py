#!/usr/bin/python3
"""The command channel of a VM host: both of its ends.

In the guest a root service runs `vm-agent.py serve PORT`, PORT being a virtio-serial port; outside,
`vm-agent.py call SOCKET TIMEOUT COMMAND...` connects to the socket that qemu ties to that port.
Each message is one line, base64 of JSON: {"id", "argv", "stdin"} to the guest and {"id", "code",
"stdout", "stderr"} back. A serial port carries no connections, so the id is what tells an answer
from the remains of a conversation that was cut short.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def encode(message):
    return base64.b64encode(json.dumps(message).encode()) + b"\n"


def decode(line):
    return json.loads(base64.b64decode(line, validate=True))


def run(request):
    environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
    try:
        done = subprocess.run(
            request["argv"], input=base64.b64decode(request["stdin"]), capture_output=True,
            env=environment, cwd="/", check=False,
        )
    except OSError as error:
        # The codes are the shell's: 127 for a command that is not there, 126 for one that cannot run.
        code = 127 if isinstance(error, FileNotFoundError) else 126
        return {"code": code, "stdout": "", "stderr": base64.b64encode(f"{error}\n".encode()).decode()}
    # A command that a signal ended has a negative code in Python, and 128 + signal in a shell.
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return {
        "code": code,
        "stdout": base64.b64encode(done.stdout).decode(),
        "stderr": base64.b64encode(done.stderr).decode(),
    }


def serve(port):
    # One descriptor for both directions: the kernel lets only one open of the port exist at a time.
    descriptor = os.open(port, os.O_RDWR)
    pending = b""
    while True:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            # Nobody is connected outside. A read of a port without a peer returns at once, and poll
            # reports a hang-up all the time, so a short nap is the only way to wait for the next one.
            time.sleep(0.02)
            pending = b""
            continue
        pending += chunk
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            try:
                request = decode(line)
            except ValueError:
                continue
            answer = encode({"id": request["id"], **run(request)})
            while answer:
                answer = answer[os.write(descriptor, answer):]


def call(path, timeout, argv):
    request = {"id": os.urandom(8).hex(), "argv": argv, "stdin": ""}
    if not sys.stdin.isatty():
        request["stdin"] = base64.b64encode(sys.stdin.buffer.read()).decode()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(timeout)
        channel.connect(path)
        # The empty line first ends whatever a caller that died left half-sent.
        channel.sendall(b"\n" + encode(request))
        for line in channel.makefile("rb"):
            try:
                answer = decode(line)
            except ValueError:
                continue
            if answer["id"] != request["id"]:
                continue
            sys.stdout.buffer.write(base64.b64decode(answer["stdout"]))
            sys.stderr.buffer.write(base64.b64decode(answer["stderr"]))
            return answer["code"]
    raise OSError("the machine went away before it answered")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) >= 5 and sys.argv[1] == "call":
        try:
            sys.exit(call(sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
        except OSError as error:
            # 255 is what ssh says when it is the connection that failed and not the command.
            print(f"vm-agent: {error}", file=sys.stderr)
            sys.exit(255)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
