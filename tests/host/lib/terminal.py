"""Runs a command on a pseudo-terminal and drives it: see tests/tests/top.rs for the steps (on standard input).

The emulator knows what crossterm writes: cursor moves, erasing, colours, the alternate screen. Prints one JSON object.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

BOUND = 40.0


class Screen:
    def __init__(self, cols, rows):
        self.resize(cols, rows)
        self.pending, self.alternate, self.hidden, self.colours, self.entered = "", False, False, False, False

    def resize(self, cols, rows):
        self.cols, self.rows, self.x, self.y = cols, rows, 0, 0
        self.cells = [[" "] * cols for _ in range(rows)]

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]

    def feed(self, data):
        text = self.pending + data.decode("utf-8", "replace")
        self.pending = ""
        while text:
            found = re.match(r"\x1b\[([?0-9;]*)([A-Za-z])", text)
            if found:
                self.control(found.group(1), found.group(2))
                text = text[found.end():]
            elif text[0] == "\x1b" and len(text) < 12 and re.fullmatch(r"\x1b(\[[?0-9;]*)?", text):
                self.pending = text
                return
            elif text[0] == "\x1b":
                text = text[2:]
            else:
                self.put(text[0])
                text = text[1:]

    def put(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            self.y = min(self.y + 1, self.rows - 1)
        elif c >= " " and self.y < self.rows and self.x < self.cols:
            self.cells[self.y][self.x] = c
            self.x += 1

    def control(self, args, verb):
        numbers = [int(n) if n.isdigit() else 0 for n in args.lstrip("?").split(";")]
        if verb == "H":
            self.y = max(numbers[0], 1) - 1
            self.x = max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif verb == "J":
            self.cells = [[" "] * self.cols for _ in range(self.rows)]
        elif verb == "K" and self.y < self.rows:
            self.cells[self.y][self.x:] = [" "] * (self.cols - self.x)
        elif verb in "hl" and args.startswith("?"):
            if 1049 in numbers:
                self.alternate = verb == "h"
                self.entered |= self.alternate
            if 25 in numbers:
                self.hidden = verb == "l"
        elif verb == "m":
            self.colours |= any(30 <= n <= 38 or 90 <= n <= 97 for n in numbers if n != 39)


def size(fd, cols, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def main():
    steps = [line for line in sys.stdin.buffer.read().decode().split("\n") if line]
    master, slave = pty.openpty()
    size(master, 80, 24)
    before = termios.tcgetattr(slave)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.environ["TERM"] = "xterm-256color"
        os.execvp(sys.argv[1], sys.argv[1:])
    screen, status, screens = Screen(80, 24), None, []

    def pump(seconds):
        nonlocal status
        if select.select([master], [], [], seconds)[0]:
            screen.feed(os.read(master, 65536))
        if status is None:
            done, code = os.waitpid(pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if done else None

    def until(what, reached):
        end = time.monotonic() + BOUND
        while not reached():
            if time.monotonic() > end or (status is not None and what != "end"):
                sys.exit("step `%s` (ended: %s): %s" % (what, status, "\n".join(screen.lines())))
            pump(0.05)

    for step in steps:
        verb, _, rest = step.partition(" ")
        if verb == "keys":
            os.write(master, rest.encode())
            pump(0.2)
        elif verb == "wait":
            until(step, lambda: rest in "\n".join(screen.lines()))
        elif verb == "size":
            cols, rows = map(int, rest.split())
            screen.resize(cols, rows)
            size(master, cols, rows)
        elif verb == "signal":
            os.kill(pid, getattr(signal, "SIG" + rest))
        elif verb == "end":
            until("end", lambda: status is not None)
            pump(0.2)
        elif verb == "hangup":
            # The terminal is gone, as when a connection breaks: nobody holds its other side.
            os.close(slave)
            os.close(master)
            print(json.dumps({"screens": screens}))
            return
        screens.append(screen.lines())
    after = termios.tcgetattr(slave)
    restored = before == after and not screen.alternate and not screen.hidden and screen.entered
    print(json.dumps({"screens": screens, "exit": status, "restored": restored, "colours": screen.colours}))
    if status is None:
        os.kill(pid, signal.SIGKILL)


main()
