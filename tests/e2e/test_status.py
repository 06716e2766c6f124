"""mastfs status: what is said of a mount that is well, and of one that is not."""
import ctypes
import errno
import glob
import json
import mmap
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import lib
from asked import DEAD, USAGE, WELL, WRONG, ask, prometheus, quiet, socket_of
from lib import body, fails, read, wait, write

KIB, BLOCK = 1 << 10, 256 << 10
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a user's socket is elsewhere")


def ask_socket(path):
    """The answer, and how long it took."""
    start = time.monotonic()
    answer = b""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * lib.SLOW)
        s.connect(path)
        s.sendall(b"status\n")
        while piece := s.recv(1 << 16):
            answer += piece
    took = time.monotonic() - start
    assert answer.startswith(b"ok {"), answer[:80]
    return json.loads(answer[3:]), took


def told(path):
    return ask_socket(path)[0]


def test_of_a_mount_that_is_well(store, mount):
    m = mount(store)
    code, s = ask(m)
    assert code == WELL
    assert (s["mountpoint"], s["source"]) == (m.point, store.source)
    assert (s["state"], s["problem"], s["pid"]) == ("serving", "", m.process.pid)
    assert (s["cache_dir"], s["read_only"], s["reachable"]) == (m.cache, False, True)
    assert 0 < s["resident_bytes"] <= s["resident_peak_bytes"] <= m.rss()
    assert s["threads"] == len(os.listdir("/proc/%d/task" % s["pid"]))
    # The one who asks and, where the kernel does not count, the directory that is read.
    assert abs(s["open_files"] - len(os.listdir("/proc/%d/fd" % s["pid"]))) <= 2
    assert 0 < s["uptime_seconds"] < 60 * lib.SLOW
    assert quiet(m) == WELL
    text = m.run("status", m.point)
    assert text.returncode == WELL
    assert text.stdout.startswith("%s: %s\n" % (m.point, store.source))
    assert "pid %d, serving" % m.process.pid in text.stdout


def test_without_a_mount_point_tells_all(local, mount):
    """Among those of everybody else on this machine."""
    a, b = mount(local), mount(local, ro=True)
    done = a.run("status", "--json")
    found = {s["mountpoint"]: s for s in json.loads(done.stdout)}
    assert found[a.point]["pid"] == a.process.pid
    assert found[b.point]["pid"] == b.process.pid
    assert [found[m.point]["read_only"] for m in (a, b)] == [False, True]
    figures = prometheus(a.run("status", "--prometheus").stdout)
    up = {dict(labels)["mountpoint"]: value for labels, value in figures["mastfs_up"].items()}
    assert up[a.point] == up[b.point] == 1


@as_root
def test_the_socket_is_the_users_own_and_goes_with_the_mount(local, mount):
    m = mount(local)
    path = socket_of(m)
    ours = os.lstat(path)
    assert stat.S_ISSOCK(ours.st_mode)
    assert stat.S_IMODE(ours.st_mode) == 0o600
    assert os.lstat(os.path.dirname(path)).st_mode & 0o077 == 0
    m.umount()
    # The kernel may have given the number to another test's mount already.
    try:
        assert os.lstat(path).st_ctime_ns > ours.st_ctime_ns
    except FileNotFoundError:
        pass


def test_where_nothing_is_mounted(local, mount):
    m = mount(local, start=False)
    assert ask(m) == (DEAD, None)
    done = m.run("status", m.point)
    assert done.returncode == DEAD and "no mastfs is mounted there" in done.stderr
    assert quiet(m) == DEAD
    assert m.run("status", "--quiet", m.point + "/none/at/all").returncode == DEAD


def test_of_a_daemon_that_was_killed(local, mount):
    m = mount(local)
    m.kill()
    code, s = ask(m)
    assert (code, s["state"]) == (DEAD, "dead")
    assert quiet(m) == DEAD
    figures = prometheus(m.run("status", "--prometheus", m.point).stdout)
    assert list(figures["mastfs_up"].values()) == [0]
    assert not figures["mastfs_reachable"]
    # Its socket is left; the next mount there, which takes the mount of the dead one
    # away, is asked as if there had been none.
    m.mount()
    assert quiet(m) == WELL
    assert ask(m)[1]["pid"] == m.process.pid


def stopped(pid):
    """All of its threads: each goes on until it hears of it."""
    states = [lib.read(path).rsplit(b")", 1)[1].split()[0]
              for path in glob.glob("/proc/%d/task/*/stat" % pid)]
    return all(s == b"T" for s in states)


def test_of_a_daemon_that_hangs(local, mount):
    """Nothing hangs past its deadline (P8), the one who asks least of all."""
    m = mount(local)
    m.process.send_signal(signal.SIGSTOP)
    try:
        wait("it to stop", lambda: stopped(m.process.pid))
        assert quiet(m) == DEAD
        code, s = ask(m)
        assert (code, s["state"]) == (DEAD, "dead")
        assert "does not answer" in s["problem"]
    finally:
        m.process.send_signal(signal.SIGCONT)
    assert quiet(m) == WELL


@as_root
def test_of_a_mount_without_a_socket(local, mount):
    """As a mount is seen whose daemon is in another container."""
    m = mount(local)
    os.unlink(socket_of(m))
    code, s = ask(m)
    assert (code, s["state"]) == (WRONG, "unknown")
    assert "cannot be asked from here" in s["problem"]
    assert quiet(m) == WRONG
    os.listdir(m.point)


def test_a_wrong_command_line_is_refused(local, mount):
    m = mount(local, start=False)
    for args in (["--jsn"], ["-x"], ["a", "b"], ["--json=yes"], ["-q", "--json"], ["-qw"],
                 ["--json", "--prometheus"]):
        done = m.run("status", *args)
        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr.count("\n") == 1
    done = subprocess.run([lib.MASTFS, "status", "--help"], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "--quiet" in done.stdout
    # Every figure has its line.
    code, s = ask(mount(local))
    assert all(re.search(r"^  %s +\w" % name, done.stdout, re.M) for name in s)


def test_watching_shows_it_again_until_nobody_reads(local, mount):
    m = mount(local)
    with subprocess.Popen([lib.MASTFS, "status", "-w", m.point], env=m.env(),
                          stdout=subprocess.PIPE, text=True) as watch:
        shown = [watch.stdout.readline() for _ in range(20)]
        watch.stdout.close()
        assert watch.wait(20 * lib.SLOW) == -signal.SIGPIPE
    assert len([line for line in shown if line.startswith(m.point)]) >= 2


# --- the figures, each against a truth that is known here ---

def direct(path, off, size):
    """One read of the kernel's, which it neither has cached nor makes larger."""
    buf = mmap.mmap(-1, size)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        assert os.preadv(fd, [buf], off) == size
        return buf[:]
    finally:
        os.close(fd)


def test_reads_from_the_cache_and_from_the_store_are_told_apart(s3d, mount):
    """Ten blocks, in an order in which nothing is fetched ahead; then the same again."""
    data = body(32 << 20, 5)
    s3d.put("f", data)
    m = mount(s3d, fill="no", passthrough="no")
    places = [(3 * n + 1) << 20 for n in (7, 2, 9, 4, 0, 6, 1, 8, 3, 5)]
    for wanted in ("cold", "warm"):
        before = ask(m)[1]
        for off in places:
            assert direct(m.path("f"), off, BLOCK) == data[off:off + BLOCK]
        after = ask(m)[1]
        grew = {name: after[name] - before[name] for name in after if name.endswith("_total")}
        cold = 10 if wanted == "cold" else 0
        assert grew["reads_fetched_total"] == cold
        assert grew["reads_cached_total"] == 10 - cold
        assert grew["read_fetched_bytes_total"] == cold * BLOCK
        assert grew["read_cached_bytes_total"] == (10 - cold) * BLOCK
        assert grew["opens_total"] == 10
        assert grew["fetched_bytes_total"] == cold * BLOCK
        assert (grew["requests_total"] > 0) == (wanted == "cold")
    assert after["cache_used_bytes"] == 10 * BLOCK
    assert after["cache_limit_bytes"] >= after["cache_used_bytes"]
    assert after["passthrough"] == "off: by the option passthrough"
    assert after["opens_passthrough_total"] == 0


def test_requests_are_counted_as_the_server_counts_them(s3d, mount):
    m = mount(s3d)

    def agree():
        s = ask(m)[1]
        return s if s["requests_total"] == len(s3d.server.call("GET", "log")) else None
    before = wait("the connections for later", agree)
    write(m.path("up"), body(100000))
    s3d.put("down", body(200000))
    assert len(read(m.path("down"))) == 200000
    after = wait("as many requests", agree)
    assert after["requests_total"] - before["requests_total"] >= 2
    assert after["sent_bytes_total"] - before["sent_bytes_total"] == 100000
    assert after["received_bytes_total"] - before["received_bytes_total"] >= 200000
    assert after["uploads_total"] - before["uploads_total"] == 1
    assert after["uploaded_bytes_total"] - before["uploaded_bytes_total"] == 100000
    counts = after["request_latency_seconds"]
    assert sum(n for bound, n in counts.items() if bound != "sum") > 0
    assert 0 < after["latency_seconds"] < 10
    assert (after["requests_in_flight"], after["staged_bytes"]) == (0, 0)


def test_opens_that_the_kernel_serves_itself(local, mount):
    local.put("f", body(3 * BLOCK))
    m = mount(local)
    read(m.path("f"))  # now all of it is in the cache
    # The kernel tells of the close when it likes, and opens no file in both ways.
    wait("f is closed", lambda: os.getxattr(m.path("f"), "user.mastfs.io") == b"none")
    read(m.path("f"))
    s = ask(m)[1]
    assert s["opens_total"] == 2
    if s["passthrough"] == "active":
        assert s["opens_passthrough_total"] >= 1
    else:
        assert s["passthrough"].startswith("off: ")
        assert s["opens_passthrough_total"] == 0


def test_a_store_that_does_not_answer(s3d, mount):
    s3d.put("f", body(BLOCK))
    m = mount(s3d, read_timeout="3s")
    assert ask(m)[1]["reachable"]
    s3d.server.process.send_signal(signal.SIGKILL)
    s3d.server.process.wait()
    fails(errno.ETIMEDOUT, lambda: len(read(m.path("f"))))
    code, s = ask(m)
    assert (code, s["reachable"]) == (WRONG, False)
    assert "the store has not answered for" in s["problem"]
    assert 0 < s["unreachable_seconds"] < 60 * lib.SLOW
    assert s["last_answer_seconds"] >= s["unreachable_seconds"]
    assert "gave up" in s["last_error"]
    assert s["requests_failed_total"] >= 2
    # It waits (P8): a container that is restarted for it would gain nothing.
    assert quiet(m) == WELL
    assert "no answer for" in m.run("status", m.point).stdout
    figures = prometheus(m.run("status", "--prometheus", m.point).stdout)
    assert list(figures["mastfs_reachable"].values()) == [0]


def test_a_store_that_answers_again(s3d, mount):
    """The server drops what it is asked, then it does not."""
    s3d.put("f", body(BLOCK))
    m = mount(s3d, read_timeout="3s")
    s3d.server.rule("reset")
    fails(errno.ETIMEDOUT, lambda: len(read(m.path("f"))))
    assert ask(m)[1]["reachable"] is False
    s3d.server.clear()
    assert len(read(m.path("f"))) == BLOCK
    code, s = ask(m)
    assert (code, s["reachable"], s["unreachable_seconds"]) == (WELL, True, 0)


def test_a_failed_upload_is_named_until_it_has_arrived(s3d, mount):
    m = mount(s3d)
    s3d.server.rule("status", "PUT", status=403, code="AccessDenied")
    with pytest.raises(PermissionError):
        write(m.path("refused\n.fits"), body(5000))
    code, s = ask(m)
    assert code == WRONG
    assert (s["files_failed"], s["failed_names"]) == (1, ["refused\n.fits"])
    assert (s["files_queued"], s["files_uploading"], s["uploads_total"]) == (0, 0, 0)
    assert s["staged_bytes"] >= 5000
    assert "1 file is not in the bucket" in s["problem"]
    assert "failed   refused\\x0a.fits\n" in m.run("status", m.point).stdout
    s3d.server.clear()
    with open(m.path("refused\n.fits"), "ab"):
        pass  # whose close waits for what was not uploaded
    assert ask(m)[1]["files_failed"] == 0
    assert s3d.get("refused\n.fits") == body(5000)
    assert ask(m)[0] == WELL


@as_root
def test_files_on_their_way(s3d, mount):
    """Some go up, the others wait for them; one is still written, one never goes.  Asked at
    the socket: a child that is forked while a file is open closes it, as if it were done."""
    m = mount(s3d, upload="background", uploaders=1, drain="0")
    path, n = socket_of(m), 40
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    for i in range(n):
        write(m.path("f%d" % i), body(1000))
    write(m.path("here.part"), b"only")
    with open(m.path("open"), "wb") as f:
        f.write(b"some")
        f.flush()
        s = wait("uploads", lambda: [s for s in [told(path)] if s["files_uploading"]])[0]
        assert s["files_queued"] > 0
        assert s["files_queued"] + s["files_uploading"] == n
        assert (s["files_writing"], s["files_local"], s["files_failed"]) == (1, 1, 0)
        assert s["staged_bytes"] == 1000 * n + 8
        assert s["uploads_total"] == 0
    s3d.server.clear()
    wait("all of them", lambda: told(path)["uploads_total"] == n + 1, 60)
    # What has arrived is counted before its staged bytes are let go.
    s = wait("their room", lambda: [s for s in [told(path)] if s["staged_bytes"] == 4])[0]
    assert (s["files_queued"], s["files_uploading"], s["files_writing"]) == (0, 0, 0)


@pytest.mark.short
def test_a_daemon_that_drains_is_shown_and_frees_its_name(s3d, mount, folder):
    m = mount(s3d, upload="background", drain="1h")
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), body(1000))
    subprocess.run(["umount", m.point], check=True)

    def drains():
        found = json.loads(m.run("status", "--json").stdout)
        return [s for s in found if s["pid"] == m.process.pid and s["state"] == "draining"]
    shown = wait("the drain", drains)[0]
    assert shown["files_queued"] + shown["files_uploading"] == 1
    assert quiet(m) == DEAD
    s3d.server.clear()
    assert m.process.wait(60 * lib.SLOW) == 0
    m.process = None
    assert s3d.get("f") == body(1000)


# --- under load ---

class Load:
    """Eight readers and two writers through the mount, in processes of their own, so that
    what is measured waits for the machine and not for this interpreter's lock."""
    READER = ("import os, random, sys\n"
              "while True:\n"
              "    fd = os.open(sys.argv[1], os.O_RDONLY)\n"
              "    for _ in range(16):\n"
              "        os.pread(fd, 262144, random.randrange(60) << 18)\n"
              "    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
              "    os.close(fd)\n")
    WRITER = ("import sys\n"
              "while True:\n"
              "    with open(sys.argv[1], 'wb') as f:\n"
              "        f.write(bytes(3 << 20))\n")

    def __init__(self, m, names):
        run = [["-c", self.READER, m.path(name)] for name in names]
        run += [["-c", self.WRITER, m.path("new%d" % n)] for n in range(2)]
        self.running = [subprocess.Popen([sys.executable, *args]) for args in run]

    def stop(self):
        for process in self.running:
            process.kill()
            process.wait()


@pytest.mark.short
@as_root
def test_answers_at_once_under_load(s3d, mount):
    """Within 50 ms, measured at the socket.  Other work on this machine holds up who asks
    and who answers alike, and a scheduler's slice or two is no fault of the daemon's: nine
    in ten must be in time, in the best of three rounds.  An answer that waits for the
    network or for a lock that is held across it is late in all of them: those of this
    server take longer."""
    for n in range(8):
        s3d.put("f%d" % n, body(16 << 20, n))
    m = mount(s3d, cache_size="32M", upload="background", drain="0")
    s3d.server.rule("delay", op="get", secs=0.2)
    path = socket_of(m)
    load = Load(m, ["f%d" % n for n in range(8)])
    try:
        wait("load", lambda: told(path)["requests_in_flight"] >= 4, 60)
        in_time = []
        for _ in range(3):
            times = [ask_socket(path)[1] for _ in range(50)]
            in_time.append(sum(t < 0.050 * lib.SLOW for t in times))
            if in_time[-1] >= 45:
                break
    finally:
        load.stop()
    assert in_time[-1] >= 45, in_time
    s3d.server.clear()
    m.force_out()


def become(uid):
    """Another user with root's powers: only who it is stands against it."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(28, 4, 0, 0, 0) == 0  # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP
    assert libc.setresuid(uid, uid, uid) == 0


@as_root
def test_another_user_is_not_heard(local, mount):
    m = mount(local)
    path = socket_of(m)
    child = os.fork()
    if not child:
        heard = True
        try:
            become(4711)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                try:
                    s.sendall(b"status\n")
                    heard = s.recv(10) != b""
                except (BrokenPipeError, ConnectionResetError):
                    heard = False
        finally:
            os._exit(heard)
    assert os.waitpid(child, 0)[1] == 0
    assert quiet(m) == WELL
    # And without root's powers it does not even find the socket.
    plain = subprocess.run(["setpriv", "--reuid=4711", "--clear-groups", lib.MASTFS, "status",
                            m.point], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert plain.returncode == WRONG and "ask as root" in plain.stdout


@as_root
def test_of_an_ordinary_user(local, mount):
    """Whose daemon may not be traced, and who has no directory of root's: asked by himself
    and by root, and by nobody else."""
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv")
    if os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        pytest.skip("/dev/fuse is not open to users here")

    def user(uid):
        return ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"]
    # His alone, whatever runs beside this test.
    own_uid = 100000 + os.getpid()
    m = mount(local, start=False, user=user(own_uid), env={"HOME": "/nonexistent"},
              log_level="info")
    for place in (m.folder, m.point, local.root):
        os.chown(place, own_uid, own_uid)
    write(m.log_path, b"")
    m.mount()
    own = "/tmp/mastfs-%d" % own_uid
    wait("its socket", lambda: os.path.exists(own) and os.listdir(own))
    assert stat.S_IMODE(os.lstat(own).st_mode) == 0o700
    asked = {uid: subprocess.run(user(uid) + [lib.MASTFS, "status", "--json", m.point],
                                 env=m.env(), stdout=subprocess.PIPE, text=True)
             for uid in (0, own_uid, 4711)}
    told = {uid: json.loads(done.stdout) for uid, done in asked.items()}
    assert [told[uid]["pid"] for uid in (0, own_uid, 4711)] == [m.process.pid] * 2 + [0]
    assert [asked[uid].returncode for uid in (0, own_uid, 4711)] == [WELL, WELL, WRONG]
    assert told[4711]["problem"] == "its daemon is another user's: ask as root"
    done = subprocess.run(user(own_uid) + [lib.MASTFS, "umount", m.point], env=m.env())
    assert done.returncode == 0 and m.process.wait(60 * lib.SLOW) == 0
    m.process = None
    assert os.listdir(own) == []
    os.rmdir(own)


def devices():
    """Those of all mounts, as mountinfo writes them."""
    with open("/proc/self/mountinfo") as f:
        return [line.split()[2] for line in f]


@as_root
def test_names_of_the_dead_stay_as_long_as_their_mounts(local, mount):
    """So that what is dead and was here is told from what was never here."""
    m = mount(local)
    path = socket_of(m)
    device = os.path.basename(path)
    m.kill()
    mount(local)
    assert os.path.exists(path)
    subprocess.run(["umount", "-l", m.point], check=True)
    mount(local)
    # It is gone, or a mount that is there has the number of its device: one of these two, or
    # of a test that runs beside this one.
    wait("its end", lambda: not os.path.exists(path) or device in devices())


@as_root
def test_a_dead_mount_of_another_container_is_not_ours(local, mount, folder):
    """A health check that names no mount point: what another container has left in a
    directory that both see does not make this one ill; what died here does."""
    theirs = mount(local)
    theirs.kill()
    ours = mount(local, start=False)
    script = ("mount -t tmpfs tmpfs /run\nmkdir -p /tmp/mastfs-0\n"
              "mount -t tmpfs -o mode=700 tmpfs /tmp/mastfs-0\n"
              "\"$0\" status -q && exit 90\n\"$@\"\n"
              "\"$0\" status -q || exit 91\n"
              "pid=$(\"$0\" status --json '%s' | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')\n"
              "kill -9 $pid\nwhile kill -0 $pid 2>&-; do sleep 0.01; done\n"
              "\"$0\" status -q\ntest $? = 3 || exit 92\n" % ours.point)
    done = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-uc", script,
                           lib.MASTFS, *ours.command()], env=ours.env(), text=True,
                          timeout=120 * lib.SLOW, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


@as_root
def test_bad_clients_disturb_nobody(local, mount):
    """More of them than there are places: silent, cut short, garbage, and deaf."""
    m = mount(local)
    clients = []
    for n in range(32):
        s = socket.socket(socket.AF_UNIX)
        s.connect(socket_of(m))
        clients.append(s)
        said = (b"", b"stat", bytes(range(1, 256)) * 40, b"status\n")[n % 4]
        try:
            s.sendall(said)
        except BrokenPipeError:
            pass
        told(socket_of(m))
    for s in clients:
        s.close()
    assert quiet(m) == WELL
