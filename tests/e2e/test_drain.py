"""Ending: what was written goes up for as long as drain says, the journal keeps the rest,
and whoever ended it is told what that is.

The server refuses each PUT until it is told not to, so nothing here depends on time."""
import errno
import os
import signal
import subprocess
import time

import pytest

import lib
from lib import body, same, wait, write

LEFT = 75
NAMES = ["f%02d" % n for n in range(12)]


@pytest.fixture
def stuck(s3d, mount):
    """stuck(**opts): a mount with files that wait: the server is too busy for any PUT."""
    def make(names=NAMES, **opts):
        m = mount(s3d, upload="background", **opts)
        s3d.server.rule("status", "PUT", status=503, code="SlowDown")
        for n, name in enumerate(names):
            write(m.path(name), body(1000 + n, n))
        return m
    return make


def ended(m, want):
    code = m.process.wait(60 * lib.SLOW)
    assert code == want, "%d\n%s" % (code, m.tail())
    assert not lib.mounted(m.point)
    m.process = None


def draining(m):
    wait("the drain", lambda: lib.read(os.path.join(m.cache, "lock")).startswith(b"draining"))


def all_there(s3d, names=NAMES):
    for n, name in enumerate(names):
        same(s3d.get(name), body(1000 + n, n))


def goes_on(s3d, m, names=NAMES):
    """The next mount has them at once, and uploads them."""
    s3d.server.clear()
    m.mount()
    for n, name in enumerate(names):
        same(lib.read(m.path(name)), body(1000 + n, n))
    m.umount()
    all_there(s3d, names)


def test_whoever_has_a_file_open_is_told_at_once(s3d, stuck):
    """The daemon that only uploads answers nobody: it hangs up (P8)."""
    m = stuck(NAMES[:1], drain="1h")
    s3d.put("read", body(1000))
    fd = os.open(m.path("read"), os.O_RDONLY)
    m.process.send_signal(signal.SIGTERM)
    draining(m)
    wait("the end of the mount", lambda: not lib.mounted(m.point))
    with pytest.raises(OSError) as err:
        os.fstatvfs(fd)
    assert err.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    os.close(fd)
    s3d.server.clear()
    ended(m, 0)
    all_there(s3d, NAMES[:1])


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_left_is_told_and_kept(s3d, stuck, by):
    m = stuck(drain="1s")
    m.process.send_signal(by)
    ended(m, LEFT)
    said = m.log()
    assert "12 changes are not in the bucket yet" in said and m.cache in said
    left = "".join(line for line in said.split("12 changes")[1].splitlines()
                   if "debug:" not in line)  # nor the requests that still ended
    assert [name in left for name in NAMES].count(True) == 10
    assert "and 2 more" in said
    goes_on(s3d, m)


def test_umount_tells_as_well(s3d, stuck):
    """And waits for as long as the daemon drains, which only the daemon was told."""
    m = stuck(["name\nwith a line"], drain="12s")
    done = m.run("umount", m.point)
    assert done.returncode == 1
    assert "1 changes are not in the bucket yet" in done.stderr and m.cache in done.stderr
    assert "name?with a line" in done.stderr
    ended(m, LEFT)
    goes_on(s3d, m, ["name\nwith a line"])


def test_umount_tells_of_a_daemon_that_was_killed(s3d, stuck):
    """P3: it said nothing of what was left, and that is no success."""
    m = stuck(drain="1000s")
    with subprocess.Popen([lib.MASTFS, "umount", m.point], env=m.env(), text=True,
                          stderr=subprocess.PIPE) as umount:
        draining(m)
        pid = m.process.pid
        m.kill()
        said = umount.communicate(timeout=60 * lib.SLOW)[1]
    assert umount.returncode == 1
    assert "pid %d died" % pid in said and m.cache in said
    goes_on(s3d, m)


def test_drain_ends_when_all_is_there(s3d, stuck):
    m = stuck(drain="100s")
    m.process.terminate()
    draining(m)
    s3d.server.clear()
    ended(m, 0)
    all_there(s3d)
    assert "not in the bucket" not in m.log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_second_signal_ends_the_drain(s3d, stuck, second):
    """By leaving the rest to the next mount, not by being killed."""
    m = stuck(drain="1000s")
    m.process.terminate()
    draining(m)
    m.process.send_signal(second)
    ended(m, LEFT)
    assert "12 changes are not in the bucket yet" in m.log()
    goes_on(s3d, m)


def test_unmounted_from_outside(s3d, stuck):
    """fusermount3 returns at once; the next mount waits for the drain, and has it all."""
    m = stuck(drain="2s")
    first = m.process
    subprocess.run(["fusermount3", "-u", m.point], check=True)
    draining(m)
    s3d.server.clear()
    m.mount()
    assert first.wait(60) in (0, LEFT)
    for n, name in enumerate(NAMES):
        same(lib.read(m.path(name)), body(1000 + n, n))
    m.umount()
    all_there(s3d)


def test_umount_while_it_drains(s3d, stuck):
    m = stuck(drain="100s")
    m.process.terminate()
    draining(m)
    wait("the mount to go", lambda: not lib.mounted(m.point))
    done = m.run("umount", m.point)
    assert done.returncode == 1 and "nothing is mounted there" in done.stderr
    s3d.server.clear()
    ended(m, 0)
    all_there(s3d)


def test_no_write_gets_in_during_the_drain(s3d, stuck):
    """Refused, so the writer knows; what it had not closed is not published."""
    m = stuck(drain="100s")
    half = open(m.path("half"), "wb", buffering=0)
    half.write(b"half")
    m.process.terminate()
    draining(m)
    wait("the mount to go", lambda: not lib.mounted(m.point))
    for call in (half.write, lambda data: os.ftruncate(half.fileno(), 9)):
        try:
            call(b"more")
            raise AssertionError("a write got in")
        except OSError as err:
            assert err.errno in (errno.ENOTCONN, errno.ECONNABORTED), err
    try:
        half.close()
    except OSError:
        pass
    s3d.server.clear()
    ended(m, 0)
    all_there(s3d)
    assert s3d.get("half") is None


def test_server_that_is_silent(s3d, mount):
    """Requests that never end do not hold up the end either."""
    m = mount(s3d, upload="background", drain="1s")
    s3d.server.rule("delay", "PUT", secs=600)
    write(m.path("f00"), body(1000, 0))
    m.process.terminate()
    ended(m, LEFT)
    assert "f00" in m.log().split("1 changes")[1]
    goes_on(s3d, m, ["f00"])


def test_silent_server_holds_up_no_name(s3d, mount):
    """Whoever changes a file that waits for its upload does not wait for that (P8)."""
    names = ["f%02d" % n for n in range(40)]
    m = mount(s3d, upload="background", drain="1s")
    s3d.server.rule("delay", "PUT", secs=600)
    for n, name in enumerate(names):
        write(m.path(name), body(1000 + n, n))
    start = time.monotonic()
    lib.sh("cd $1; rm f39; mv f37 f38; touch f36; echo new > f35.tmp; mv f35.tmp f35", m.point)
    m.process.terminate()
    ended(m, LEFT)
    assert time.monotonic() - start < 60 * lib.SLOW  # one request lasts five minutes
    s3d.server.clear()
    m.mount()
    m.umount()
    assert s3d.files() == names[:37] + names[38:39]
    same(s3d.get("f38"), body(1037, 37))
    same(s3d.get("f35"), b"new\n")


def test_removals_are_left_as_well(s3d, mount):
    s3d.put("gone", b"x")
    m = mount(s3d, upload="background", drain="1s")
    s3d.server.rule("status", "DELETE", status=503, code="SlowDown")
    os.unlink(m.path("gone"))
    m.process.terminate()
    ended(m, LEFT)
    assert "1 changes are not in the bucket yet" in m.log()
    s3d.server.clear()
    m.mount()
    assert os.listdir(m.point) == []
    m.umount()
    assert s3d.files() == []


def test_an_upload_that_fails_while_it_drains(s3d, mount):
    """It is sent again at once, and removals do not wait for its end."""
    m = mount(s3d, read_timeout="2s")
    write(m.path("g"), b"x")
    s3d.server.rule("silent", op="put", key="/f$", secs=60, count=2)
    lib.fails(errno.ETIMEDOUT, write, m.path("f"), body(5000))
    os.unlink(m.path("g"))
    began = time.monotonic()
    m.umount()
    assert time.monotonic() - began < 15 * lib.SLOW, "it waited for a turn in half a minute"
    assert s3d.files() == ["f"]
    log = [r for r in s3d.server.log() if r["key"].endswith(("/f", "/g"))]
    gone = next(n for n, r in enumerate(log) if r["op"] == "delete")
    there = next(n for n, r in enumerate(log) if r["op"] == "put" and r["key"].endswith("/f")
                 and r["status"] == 200)
    assert gone < there, [(r["op"], r["key"]) for r in log]


def test_the_port_of_a_daemon_that_drains(s3d, stuck):
    """Its successor waits for it as well."""
    m = stuck(drain="1000s", metrics="127.0.0.1:%d" % lib.free_port())
    first = m.process
    first.terminate()
    draining(m)
    m.start()
    wait("the wait", lambda: "waiting for" in m.log() or m.process.poll() is not None)
    assert m.process.poll() is None, m.tail()
    s3d.server.clear()
    m.until_mounted()
    assert first.wait(60 * lib.SLOW) == 0
    m.umount()
    all_there(s3d)
