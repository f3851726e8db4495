"""An instance that tries to get at its neighbour and its host, and says what came of it.

GET /attack  runs every attempt and answers JSON: {name: [succeeded, evidence]}
GET /listen  opens an abstract socket, a loopback port, shared memory: what a victim has
GET /pid     its process id
Anything else answers "ok".
"""

import ctypes, glob, http.server, json, os, signal, socket, socketserver, subprocess, sys, threading

SECRET = "victim-secret-7c1f"
libc = ctypes.CDLL(None, use_errno=True)
TARGET = os.environ.get("VICTIM", "victim:v")
VP, VI = TARGET.split(":")
VDATA = f"/var/lib/tenement/{VP}/{VI}"
ATTEMPTS = []


def attempt(function):
    ATTEMPTS.append(function)
    return function


def call(name, *args):
    ctypes.set_errno(0)
    result = getattr(libc, name)(*args)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return f"{name} = {result}"


def sys_call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        raise OSError(ctypes.get_errno(), f"syscall {number}: {os.strerror(ctypes.get_errno())}")
    return f"syscall {number} = {result}"


def read(path):
    with open(path, "rb") as f:
        return f.read(200000)


def must(found, evidence=""):
    if not found:
        raise AssertionError(f"nothing: {evidence}"[:200])
    return str(evidence)[:120] or "yes"


def others():
    """Processes of the host that are not ours."""
    mine = os.getuid()
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and os.stat(f"/proc/{p}").st_uid != mine]


def victims():
    found = []
    for pid in others():
        try:
            if b"victim-argv" in read(f"/proc/{pid}/cmdline"):
                found.append(pid)
        except OSError:
            pass
    return found or [int(os.environ.get("VICTIM_PID", "0") or 0) or PID[0]]


PID = [1]


def talk(address, family=socket.AF_UNIX, send=b"GET / HTTP/1.0\r\n\r\n"):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(2)
    s.connect(address)
    s.sendall(send)
    return must(s.recv(100), f"connected to {address}")


# Files of others.
@attempt
def read_file(): return must(SECRET.encode() in read(f"{VDATA}/secret"), "read")
@attempt
def read_file_by_dotdot(): return must(SECRET.encode() in read(f"../../{VP}/{VI}/secret"), "read")
@attempt
def read_file_by_root_link(): return must(SECRET.encode() in read(f"/proc/{victims()[0]}/root{VDATA}/secret"), "read")
@attempt
def read_file_by_cwd_link(): return must(SECRET.encode() in read(f"/proc/{victims()[0]}/cwd/secret"), "read")
@attempt
def read_file_by_symlink():
    if not os.path.islink("stolen"): os.symlink(f"{VDATA}/secret", "stolen")
    return must(SECRET.encode() in read("stolen"), "read")
@attempt
def hardlink_file():
    os.link(f"{VDATA}/secret", "linked"); return "linked"
@attempt
def list_data_of_others(): return must(VI in os.listdir(f"/var/lib/tenement/{VP}"), "listed")
@attempt
def list_processes_with_data(): return must(VP in os.listdir("/var/lib/tenement"), "listed")
@attempt
def watch_files_of_others():
    fd = libc.inotify_init1(0)
    return must(libc.inotify_add_watch(fd, f"/var/lib/tenement/{VP}".encode(), 0xFFF) >= 0, "watched")
@attempt
def list_sockets_of_others(): return must(any(n.startswith(VI) for n in os.listdir(f"/run/tenement/{VP}")), "listed")
@attempt
def read_state_of_the_agent(): return must(read(glob.glob("/var/lib/tenement/_agent/*")[0]), "read")
@attempt
def read_transient_units(): return must(os.listdir("/run/systemd/transient"), os.listdir("/run/systemd/transient"))
@attempt
def list_units(): return must([n for n in os.listdir("/run/systemd/units") if VP in n], "listed")
@attempt
def read_homes(): return must(os.listdir("/home") or os.listdir("/root"), "listed")
@attempt
def read_shadow(): return must(read("/etc/shadow"), "read")
@attempt
def read_tmp_of_others(): return must(os.path.exists("/tmp/of-the-host"), "seen")

# Processes of others.
@attempt
def see_processes(): return must(others(), others()[:5])
@attempt
def read_command_line(): return must(any(b"victim-argv" in read(f"/proc/{p}/cmdline") for p in others()), "read")
@attempt
def read_environment(): return must(SECRET.encode() in read(f"/proc/{victims()[0]}/environ"), "read")
@attempt
def read_memory(): return must(open(f"/proc/{victims()[0]}/mem", "rb"), "opened")
@attempt
def ptrace_other(): return call("ptrace", 16, victims()[0], 0, 0)
@attempt
def kill_other(): os.kill(victims()[0], signal.SIGCONT); return "killed"
@attempt
def signal_init(): os.kill(1, 0); return "signalled"
@attempt
def ps_lists_others(): return must("victim-argv" in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout, "listed")
@attempt
def steal_descriptor():
    pidfd = os.pidfd_open(victims()[0]); return sys_call(438, pidfd, 0, 0)
@attempt
def process_vm_read():
    buffer = ctypes.create_string_buffer(16)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16)
    remote = (ctypes.c_size_t * 2)(0x1000, 16)
    try: return sys_call(310, victims()[0], local, 1, remote, 1, 0)
    except OSError as error:
        if error.errno == 14: return "allowed: only the address was wrong"
        raise
@attempt
def add_to_keyring(): return sys_call(248, b"user", b"k", b"v", 1, -5)

# Sockets.
@attempt
def socket_of_other(): return talk(f"/run/tenement/{VP}/{VI}.sock")
@attempt
def admin_socket(): return talk("/run/tenement/admin.sock")
@attempt
def abstract_socket_of_other(): return talk("\0victim-abstract")
@attempt
def loopback_port_of_other(): return talk(("127.0.0.1", 45871), socket.AF_INET)
@attempt
def loopback_port_by_ipv6(): return talk(("::ffff:127.0.0.1", 45871), socket.AF_INET6)
@attempt
def agent_by_loopback(): return talk(("127.0.0.1", 8080), socket.AF_INET)
@attempt
def system_bus(): return talk("/run/dbus/system_bus_socket", send=b"\0AUTH EXTERNAL\r\n")
@attempt
def unitd_over_the_bus():
    ran = subprocess.run(["busctl", "call", "org.tenement.Units1", "/org/tenement/Units1", "org.tenement.Units1", "List"], capture_output=True, text=True)
    return must(ran.returncode == 0, ran.stderr)
@attempt
def private_socket_of_systemd(): return talk("/run/systemd/private", send=b"\0AUTH EXTERNAL\r\n")
@attempt
def varlink_of_systemd(): return talk("/run/systemd/userdb/io.systemd.DynamicUser", send=b'{"method":"io.systemd.UserDatabase.GetUserRecord","parameters":{"service":"io.systemd.DynamicUser"}}\0')
@attempt
def start_a_unit(): return must(subprocess.run(["systemctl", "stop", f"ten-{VP}@{VI}.service"], capture_output=True).returncode == 0, "stopped")
@attempt
def list_units_by_systemctl(): return must("ten-" in subprocess.run(["systemctl", "list-units", "--no-pager"], capture_output=True, text=True).stdout, "listed")
@attempt
def raw_socket(): socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); return "opened"
@attempt
def packet_socket(): socket.socket(17, socket.SOCK_RAW, 0); return "opened"
@attempt
def vsock(): socket.socket(40, socket.SOCK_STREAM); return "opened"
@attempt
def alg_socket(): socket.socket(38, socket.SOCK_SEQPACKET); return "opened"
@attempt
def low_port(): s = socket.socket(); s.bind(("0.0.0.0", 81)); return "bound"

# Logs.
@attempt
def read_journal_files(): return must(glob.glob("/run/log/journal/*/*") + glob.glob("/var/log/journal/*/*"), "listed")
@attempt
def journalctl(): return must("victim-log" in subprocess.run(["journalctl", "--no-pager", "-n", "2000"], capture_output=True, text=True).stdout, "read")
@attempt
def kernel_log(): return call("klogctl", 3, ctypes.create_string_buffer(4096), 4096)

# The host.
def write(path): 
    with open(path, "w") as f: f.write("x")
    return f"wrote {path}"
@attempt
def write_etc(): return write("/etc/hostile")
@attempt
def write_usr(): return write("/usr/hostile")
@attempt
def write_run_tenement(): return write("/run/tenement/hostile")
@attempt
def write_var_lib(): return write("/var/lib/tenement/hostile")
@attempt
def write_proc_sys(): return write("/proc/sys/kernel/domainname")
@attempt
def write_sys(): return write("/sys/kernel/uevent_helper")
@attempt
def write_cgroup(): return write("/sys/fs/cgroup/cgroup.procs")
@attempt
def write_shared_tmp():
    write("/var/tmp/hostile-was-here"); write("/tmp/hostile-was-here"); return "wrote " + ("outside" if os.environ.get("OUTSIDE") else must(os.path.exists("/tmp/of-the-host"), "private"))
@attempt
def load_module(): return sys_call(313, 0, b"", 0)
@attempt
def mount_tmpfs(): return call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
@attempt
def user_namespace(): return call("unshare", 0x10000000)
@attempt
def net_namespace(): return call("unshare", 0x40000000)
@attempt
def mount_namespace(): return call("unshare", 0x00020000)
@attempt
def clone3_user_namespace():
    ran = subprocess.run(["unshare", "-Ur", "true"], capture_output=True, text=True); return must(ran.returncode == 0, ran.stderr)
@attempt
def join_namespace_of_init(): return call("setns", os.open("/proc/1/ns/net", 0), 0)
@attempt
def become_root(): os.setuid(0); return "root"
@attempt
def setuid_program(): return must(subprocess.run(["su", "-c", "true"], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0, "su")
@attempt
def make_setuid_file():
    with open("suid", "w"): pass
    os.chmod("suid", 0o4755); return must(os.stat("suid").st_mode & 0o4000, "made")
@attempt
def make_device(): os.mknod("device", 0o20666, os.makedev(1, 1)); return "made"
@attempt
def open_disk(): return must(os.open("/dev/mem", 0) >= 0, "opened")
@attempt
def chroot(): os.chroot("."); return "done"
@attempt
def give_files_away(): open("gift", "w").close(); os.chown("gift", 1900000001, -1); return "given"
@attempt
def bpf(): return sys_call(321, 0, ctypes.create_string_buffer(b"\1\0\0\0\4\0\0\0\4\0\0\0\1\0\0\0" + b"\0" * 100, 120), 72)
@attempt
def perf_event(): return sys_call(298, ctypes.create_string_buffer(b"\1\0\0\0\x70" + b"\0" * 150, 160), -1, 0, -1, 0)
@attempt
def userfaultfd(): return sys_call(323, 1)
@attempt
def io_uring(): return sys_call(425, 4, ctypes.create_string_buffer(240))
@attempt
def kexec(): return sys_call(246, 0, 0, 0, 0)
@attempt
def reboot(): return call("reboot", 0x89ABCDEF)
@attempt
def swapon(): return call("swapon", b"/nothing", 0)
@attempt
def set_clock(): import time; time.clock_settime(time.CLOCK_REALTIME, time.time()); return "set"
@attempt
def set_host_name(): socket.sethostname("hostile"); return "set"
@attempt
def realtime(): os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return "set"
@attempt
def personality(): return must(libc.personality(0x0040000) >= 0 and libc.personality(0xffffffff) == 0x0040000, "changed")
@attempt
def shared_memory_of_other():
    ident = libc.shmget(0x7E4A, 0, 0); return must(ident >= 0, f"shm {ident}")
@attempt
def posix_memory_of_other(): return must(os.path.exists("/dev/shm/victim-shm"), "seen")
@attempt
def message_queue_of_other(): return must(libc.mq_open(b"/victim-mq", 0) >= 0, "opened")
@attempt
def core_pattern(): return write("/proc/sys/kernel/core_pattern")
@attempt
def notify_for_other():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    pid, uid, gid = victims()[0], os.getuid(), os.getgid()
    import struct
    s.sendmsg([b"STATUS=spoofed"], [(socket.SOL_SOCKET, 2, struct.pack("iII", pid, uid, gid))], 0, "/run/systemd/notify")
    return "sent as another process"


def attack():
    results = {}
    for function in ATTEMPTS:
        # Each in a child of its own: what one changes, the next doesn't have.
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            try:
                answer = [True, str(function())]
            except BaseException as error:
                answer = [False, f"{type(error).__name__}: {error}"[:200]]
            os.write(writer, json.dumps(answer).encode()[:4000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as f: text = f.read()
        _, status = os.waitpid(child, 0)
        results[function.__name__] = json.loads(text) if text else [False, f"ended with {status}"]
    return results


KEPT = []


def listen():
    for address, family in (("\0victim-abstract", socket.AF_UNIX), (("127.0.0.1", 45871), socket.AF_INET)):
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(address); s.listen()
        def answer(s=s):
            while True:
                c, _ = s.accept()
                c.sendall(b"HTTP/1.0 200 OK\r\n\r\nvictim"); c.close()
        threading.Thread(target=answer, daemon=True).start()
        KEPT.append(s)
    libc.shmget(0x7E4A, 4096, 0o1666)
    with open("/dev/shm/victim-shm", "w") as f: f.write(SECRET)
    os.chmod("/dev/shm/victim-shm", 0o666)
    KEPT.append(libc.mq_open(b"/victim-mq", 0o102, 0o666, None))
    with open("secret", "w") as f: f.write(SECRET)
    os.chmod("secret", 0o644)
    print("victim-log", SECRET, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self): return "client"
    def log_message(self, *args): pass
    def do_GET(self):
        if self.path.startswith("/attack"):
            if "=" in self.path: PID[0] = int(self.path.split("=")[1])
            body = json.dumps(attack())
        elif self.path == "/listen": listen(); body = "listening"
        elif self.path == "/pid": body = str(os.getpid())
        else: body = "ok"
        data = body.encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    def server_bind(self): pass
    def server_activate(self): pass


server = Server(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.socket.setblocking(True)
server.serve_forever()
