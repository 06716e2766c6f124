"""The daemon's container ends, in every way it may, and the application's goes on."""
import os
import signal
import threading
import time

import pytest

from engine import POINT
from lib import body, read, same, wait

MIB = 1 << 20
LEFT = 75
# Opens a name again and again; says when that failed first, and when it succeeded again.
READER = """
import sys, time
failed = None
print("running")
while True:
    try:
        with open(sys.argv[1], "rb") as f:
            assert f.read(16) == b"R" * 16
        if failed:
            break
    except OSError:
        failed = failed or time.time()
    time.sleep(0.02)
print(time.time())
"""
# Files one after the other; a line says that close() has returned for it.
WRITER = """
import sys
sys.path[:0] = ["/tests/e2e"]
from content import body
n = 0
try:
    while True:
        with open("%s%03d" % (sys.argv[1], n), "wb") as f:
            f.write(body(300000 + n, n))
        print(n)
        n += 1
except OSError as err:
    print("ended", err.errno)
"""


class TestKilled:
    @pytest.mark.parametrize("pid_host", [True, False])
    def test_under_load(self, minio, share, daemon, app, bar, pid_host):
        """P3: what was acknowledged is in the bucket; a running reader opens again (no restart)."""
        where = share()
        m = daemon(minio, where, pid_host=pid_host, env={"MASTFS_UPLOAD": "background"},
                   more=("--restart", "unless-stopped"))
        minio.put("r", b"R" * 4096)
        a = app(where)
        # The best of some, as others work here, too; what is right is so each time.
        times, written = [], {}
        while not times or (min(times) > 5 and len(times) < 4):
            name = "w%d-" % len(times)
            secs, written[name] = self.kill_under_load(m, a, name)
            times.append(secs)
        bar("after kill -9 under load%s: a running reader opens again in %s s (bar: 5 s)",
            "" if pid_host else " (no pid: host)", " ".join("%.2f" % t for t in times))
        assert min(times) <= 5
        assert m.stop() == 0 and where.mounts() == []
        for name, acknowledged in written.items():
            for n in range(acknowledged):
                same(minio.get("%s%03d" % (name, n)), body(300000 + n, n))
            # The one that was being written is whole or was never there (P4).
            last = minio.get("%s%03d" % (name, acknowledged))
            assert last in (None, b"") or body(300000 + acknowledged,
                                               acknowledged).startswith(last)

    def kill_under_load(self, m, a, name):
        """In how many seconds the reader went on; how many files were acknowledged."""
        reader, writer = a.begin(READER, POINT + "/r"), a.begin(WRITER, POINT + "/" + name)
        assert reader.stdout.readline() == "running\n"
        for _ in range(25):
            assert writer.stdout.readline().strip().isdigit()
        before, main = m.state()["Pid"], m.pid()
        killed = self.kill_and_tell(main)
        back = float(reader.communicate(timeout=60)[0])
        assert m.state()["Pid"] != before
        return back - killed, 25 + sum(line.strip().isdigit()
                                       for line in writer.communicate()[0].splitlines())

    @staticmethod
    def kill_and_tell(pid):
        os.kill(pid, signal.SIGKILL)
        return time.time()

    def test_a_mapping_outlives_the_daemon(self, s3d, share, daemon, app):
        """Of a file that is here whole, over a crash in the middle of another one's upload."""
        where = share()
        m = daemon(s3d, where, env={"MASTFS_UPLOAD": "background"})
        s3d.put("a", body(6 * MIB, 5))
        a = app(where)
        a.exec("cp", POINT + "/a", "/dev/null")
        wait("a is released", lambda: os.getxattr(where.point + "/a", "user.mastfs.io") == b"none")
        holder = a.begin("""
import mmap, sys
sys.path[:0] = ["/tests/e2e"]
from content import body
want = body(6 << 20, 5)
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print(m[:4096] == want[:4096])
for line in sys.stdin:
    print(m[:] == want)
""", POINT + "/a")
        assert holder.stdout.readline() == "True\n"
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        a.python("open(%r, 'wb').write(b'b' * 100000)" % (POINT + "/b"))
        m.kill()
        assert self.say(holder) == "True\n"
        assert s3d.get("b") is None
        s3d.server.clear()
        m.start()
        m.ready()
        assert self.say(holder) == "True\n"
        wait("b is in the bucket", lambda: s3d.get("b") == b"b" * 100000)
        same(read(where.point + "/a"), body(6 * MIB, 5))
        holder.communicate(timeout=60)

    @staticmethod
    def say(process):
        process.stdin.write("again\n")
        process.stdin.flush()
        return process.stdout.readline()

    def test_a_fresh_container_takes_the_dead_mount_away(self, minio, share, daemon, app, bar):
        """Removed, not restarted: the dead mount arrives in the new one through the share."""
        where = share()
        m = daemon(minio, where)
        a = app(where)
        a.exec("sh", "-c", "echo one > %s/x" % POINT)
        m.kill()
        a.exec("cat", POINT + "/x", status=1)
        assert where.mounts() == [where.point]
        m.remove()
        fresh = daemon(minio, where, volume=m.volume)
        assert "detached the mount of a dead daemon" in fresh.logs()
        assert where.mounts() == [where.point]
        assert a.exec("cat", POINT + "/x") == "one\n"
        assert fresh.stop() == 0
        bar("left in the host's mount table after docker stop: %d (bar: 0)", len(where.mounts()))
        assert where.mounts() == []
        # While nothing is mounted, nothing falls into the directory below.
        a.exec("touch", POINT + "/y", status=1)

    def test_an_application_that_starts_first(self, minio, share, daemon, app):
        """It sees the mount as soon as it is there, and may not write below it before."""
        where = share()
        os.mkdir(where.point)
        a = app(where)
        assert a.exec("ls", "-A", POINT) == ""
        a.exec("touch", POINT + "/early", status=1)
        minio.put("x", b"x")
        daemon(minio, where)
        assert a.exec("cat", POINT + "/x") == "x"

    def test_an_application_that_starts_while_it_is_dead(self, minio, share, daemon, app):
        where = share()
        m = daemon(minio, where)
        minio.put("x", b"x")
        m.kill()
        a = app(where)
        m.start()
        m.ready()
        assert a.exec("cat", POINT + "/x") == "x"


class TestStopped:
    def test_stop_drains(self, s3d, share, daemon, app):
        """What the bucket refuses at first goes up before the container ends."""
        where = share()
        m = daemon(s3d, where, env={"MASTFS_UPLOAD": "background"})
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        a = app(where)
        a.python("for n in range(5): open('%s/d%%d' %% n, 'wb').write(b'%%d' %% n)" % POINT)
        done = []
        stopping = threading.Thread(target=lambda: done.append(m.stop()))
        stopping.start()
        wait("the drain", lambda: m.holder() == "draining")
        assert where.mounts() == [], "unmounted first, so that nobody writes meanwhile"
        s3d.server.clear()
        stopping.join(60)
        assert done == [0]
        assert [s3d.get("d%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]

    def test_stop_too_short(self, s3d, share, daemon, app):
        """Killed at the end of the grace period: the next start has it all."""
        where = share()
        m = daemon(s3d, where, env={"MASTFS_UPLOAD": "background"})
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        app(where).exec("sh", "-c", "echo kept > %s/k" % POINT)
        assert m.stop(secs=1) == 137 and where.mounts() == []
        s3d.server.clear()
        m.start()
        m.ready()
        wait("the upload", lambda: s3d.get("k") == b"kept\n")

    def test_what_is_left_is_said(self, s3d, share, daemon, app):
        """MASTFS_DRAIN ends before the grace period: an orderly end, with a status of its own."""
        where = share()
        m = daemon(s3d, where, env={"MASTFS_UPLOAD": "background", "MASTFS_DRAIN": "1s"})
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        app(where).exec("sh", "-c", "echo kept > %s/k" % POINT)
        assert m.stop() == LEFT
        assert "not uploaded yet: k" in m.logs()


class TestEngine:
    def test_restart_of_the_engine(self, engine, minio, share, daemon, app):
        """Stopped as a service manager does, started again: all is there as before."""
        where = share()
        policy = ("--restart", "unless-stopped")
        m = daemon(minio, where, more=policy, env={"MASTFS_UPLOAD": "background"})
        a = app(where, *policy)
        a.exec("sh", "-c", "echo before > %s/x" % POINT)
        engine.halt()
        assert where.mounts() == []
        assert minio.get("x") == b"before\n"
        engine.start()
        m.ready()
        wait("the application's container", lambda: a.state()["Running"])
        assert a.exec("cat", POINT + "/x") == "before\n"

    def test_the_engine_is_killed(self, engine, minio, share, daemon, app):
        """The one that is started next ends what it finds running, as it would itself, and
        Debian 12's leaves it to others to start it again."""
        where = share()
        m = daemon(minio, where, env={"MASTFS_UPLOAD": "background"})
        a = app(where)
        a.exec("sh", "-c", "echo before > %s/x" % POINT)
        engine.kill()
        with open(where.point + "/x") as f:
            assert f.read() == "before\n"  # without an engine, too
        engine.start()
        wait("the containers have ended",
             lambda: not m.state()["Running"] and not a.state()["Running"])
        assert (m.state()["ExitCode"], where.mounts()) == (0, [])
        assert minio.get("x") == b"before\n"
        m.start()
        m.ready()
        a.start()
        assert a.exec("cat", POINT + "/x") == "before\n"


class TestTwo:
    def test_never_on_one_cache(self, minio, share, daemon):
        """One volume, two containers, each with numbers of its own for processes."""
        m = daemon(minio, share(), pid_host=False)
        other = daemon(minio, share(), volume=m.volume, pid_host=False, start=False)
        other.run()
        assert other.ended() == 1
        said = other.logs()
        assert "another mastfs uses it" in said and said.count("\n") == 1, said
        assert other.share.mounts() == []
        # The lock is no number: the first one's is taken over as soon as it is dead, though
        # a process of that number lives in the second one.
        m.kill()
        other.start()
        other.ready()

    def test_the_second_waits_for_the_first_one_s_uploads(self, s3d, share, daemon, app):
        where = share()
        m = daemon(s3d, where, env={"MASTFS_UPLOAD": "background"})
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        app(where).exec("sh", "-c", "echo first > %s/x" % POINT)
        m.kill("TERM")
        wait("the drain", lambda: m.holder() == "draining")
        second = daemon(s3d, where, volume=m.volume, start=False)
        second.run()
        wait("it waits", lambda: "finishes its uploads" in second.logs())
        wait("five looks", lambda: len(second.state()["Health"]["Log"] or []) == 5, 60)
        assert second.state()["Health"]["Status"] == "starting", "compose would give up"
        s3d.server.clear()
        assert m.ended() == 0
        second.ready()
        assert read(where.point + "/x") == s3d.get("x") == b"first\n"

    def test_both_write_one_bucket(self, minio, share, daemon, app):
        """P4, P5: own files are whole for the other one, and no update is lost silently."""
        minio.put("both", b"")
        wheres = [share(), share()]
        for where in wheres:
            daemon(minio, where, env={"MASTFS_TTL": "0s"})
        apps = [app(where) for where in wheres]
        rounds = 20
        # Each writes its own files, and both add to one, until one of them is refused: what
        # it wrote last is kept for it, and it would be refused again.
        programs = [a.begin("""
import errno, sys
sys.path[:0] = ["/tests/e2e"]
from content import body
root, me, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
refused = False
for n in range(rounds):
    with open("%s/own%d-%d" % (root, me, n), "wb") as f:
        f.write(body(50000 + n, me * 100 + n))
    try:
        if not refused:
            with open(root + "/both", "a") as f:
                f.write("%d:%d " % (me, n))
            print("%d:%d" % (me, n))
    except OSError as err:
        if err.errno != errno.ESTALE:
            raise
        refused = True
""", POINT, str(i), str(rounds)) for i, a in enumerate(apps)]
        added = [line for p in programs for line in p.communicate(timeout=120)[0].split()]
        assert len(added) >= rounds, "one of them is never refused"
        assert sorted(minio.get("both").decode().split()) == sorted(added)
        for i, n in ((i, n) for i in range(2) for n in range(rounds)):
            for where in wheres:
                same(read("%s/own%d-%d" % (where.point, i, n)), body(50000 + n, i * 100 + n))
