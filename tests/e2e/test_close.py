"""Close is upload (P2) also where the close is not the plain one: pages of a mapping that come
late, handles that lie idle, opens that write nothing."""
import ctypes
import errno
import glob
import mmap
import os
import socket
import subprocess
import sys

import pytest

import lib
from lib import body, fails, read, same, wait, write

LIBC = ctypes.CDLL(None, use_errno=True)
START_WRITEBACK = 2  # SYNC_FILE_RANGE_WRITE


def test_touched_while_a_mapping_is_staged(s3d, mount):
    """The whole file comes for one page, and meanwhile somebody sets its time."""
    old = body(24 << 20)
    s3d.put("f", old)
    m = mount(s3d, passthrough="no")
    fd = os.open(m.path("f"), os.O_RDWR)
    with mmap.mmap(fd, 4096, mmap.MAP_SHARED) as view:
        view[:3] = b"new"
        s3d.server.mark()
        s3d.server.rule("delay", method="GET", key="(^|/)f$", secs=2)
        assert LIBC.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(4096),
                                    START_WRITEBACK) == 0
        wait("it is being fetched", lambda: s3d.server.new("GET"))
        os.utime(m.path("f"), (1e9, 1e9))
        s3d.server.clear()
    os.close(fd)
    same(s3d.get("f"), b"new" + old[3:])
    m.remount(wipe=True)
    with open(m.path("f"), "rb") as f:
        same(f.read(), b"new" + old[3:])


def test_touched_though_its_bytes_are_lost(s3d, mount):
    m = mount(s3d, upload="background")
    s3d.server.rule("status", status=403, code="AccessDenied", key="(^|/)f$", method="PUT")
    write(m.path("f"), b"bytes")
    m.kill()
    for path in glob.glob(os.path.join(m.cache, "*", "staged", "*")):
        os.unlink(path)
    s3d.server.rule("status", status=403, code="AccessDenied", key="(^|/)f$")
    m.mount()
    fails(errno.EIO, os.utime, m.path("f"), (1e9, 1e9))
    s3d.server.clear()


def test_second_writer_after_a_child(s3d, mount):
    """The child's exec closes the first descriptor, which the parent still has."""
    m = mount(s3d)
    first = os.open(m.path("f"), os.O_RDWR | os.O_CREAT)
    subprocess.run(["true"], check=True)
    write(m.path("f"), b"second")
    assert s3d.get("f") == b"second"
    s3d.server.rule("status", status=403, code="AccessDenied", method="PUT", key="(^|/)f$")
    fails(errno.EACCES, write, m.path("f"), b"third")
    s3d.server.clear()
    wait("the next try", lambda: s3d.get("f") == b"third", 60)
    os.close(first)
    assert s3d.get("f") == b"third"


EXECS_WHILE_IT_WRITES = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"begun")
for n in range(12):
    assert os.system("true") == 0
os.write(fd, b", done")
os.close(fd)
"""


def test_child_that_execs_while_a_file_is_written(s3d, mount):
    """P8, P2: the kernel closes O_CLOEXEC descriptors while it lets nobody look at those of
    the process; nothing half written is published."""
    m = mount(s3d)
    subprocess.run([sys.executable, "-c", EXECS_WHILE_IT_WRITES, m.path("f")], check=True,
                   timeout=30 * lib.SLOW)
    assert s3d.get("f") == b"begun, done"
    assert [e["op"] for e in s3d.server.new("PUT") if e["key"] == lib.PREFIX + "f"] == ["put"]


def test_child_that_still_has_a_duplicate(s3d, mount):
    """FLUSH is not close: nor that of a process which has not opened the file."""
    m = mount(s3d)
    fd = os.open(m.path("f"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    mine, its = socket.socketpair()
    child = os.fork()
    if not child:
        os.dup(fd)
        os.close(fd)
        its.send(b"1")
        its.recv(1)
        os._exit(0)
    mine.recv(1)
    there = s3d.get("f")
    mine.send(b"1")
    os.waitpid(child, 0)
    os.close(fd)
    assert there is None and s3d.get("f") == b"x"


def test_last_descriptor_is_closed_by_exec(s3d, mount):
    """Nobody is told what that close says; the file is published all the same."""
    m = mount(s3d)
    script = "import os, sys\n" \
        "os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b'all')\n" \
        "os.execv('/bin/true', ['true'])"
    subprocess.run([sys.executable, "-c", script, m.path("f")], check=True,
                   timeout=30 * lib.SLOW)
    wait("the upload", lambda: s3d.get("f") == b"all")


@pytest.mark.parametrize("more", (0, os.O_EXCL, os.O_TRUNC))
def test_made_by_who_only_reads(store, mount, more):
    m = mount(store)
    fd = os.open(m.path("lock"), os.O_RDONLY | os.O_CREAT | more)
    assert os.read(fd, 1) == b""
    os.close(fd)
    assert store.get("lock") == b""
    subprocess.run(["flock", m.path("other"), "true"], check=True)
    assert store.get("other") == b""
    m.remount(wipe=True)
    assert sorted(os.listdir(m.path())) == ["lock", "other"]


def test_emptied_by_who_only_reads(store, mount):
    store.put("f", b"bytes")
    m = mount(store)
    fd = os.open(m.path("f"), os.O_RDONLY | os.O_TRUNC)
    assert os.read(fd, 9) == b"" and os.fstat(fd).st_size == 0
    os.close(fd)
    assert read(m.path("f")) == b"" == store.get("f")
    write(m.path("f"), b"again")
    fd = os.open(m.path("f"), os.O_RDONLY | os.O_CREAT | os.O_TRUNC)
    os.close(fd)
    assert read(m.path("f")) == b"" == store.get("f")
    m.umount()
    m.opts["ro"] = True
    m.mount()
    fails(errno.EROFS, os.open, m.path("f"), os.O_RDONLY | os.O_TRUNC)


def test_emptied_by_two_at_once(local, mount):
    """One's close seals the file between the steps of the other's open."""
    m = mount(local)
    loop = 'for n in $(seq 200); do : >"$1" || exit 1; echo x >"$1" || exit 1; done'
    both = [subprocess.Popen(["sh", "-c", loop, "sh", m.path("f")], stderr=subprocess.PIPE)
            for _ in range(3)]
    assert [(p.communicate()[1], p.returncode) for p in both] == [(b"", 0)] * 3
    assert local.get("f") == b"x\n"


@pytest.mark.parametrize("size", (1 << 20, 1 << 60))
def test_reopened_and_nothing_written(s3d, mount, size):
    """P1: a file that only had room made for it, or that could not, shows again what others
    put in its place."""
    m = mount(s3d, ttl="1s")
    second = os.open(m.path("f"), os.O_RDWR | os.O_CREAT)
    write(m.path("f"), b"ours")
    assert s3d.get("f") == b"ours"
    keep_size = 1
    done = LIBC.fallocate(second, keep_size, ctypes.c_long(0), ctypes.c_long(size))
    assert done == (0 if size < 1 << 30 else -1)
    os.close(second)
    s3d.put("f", b"theirs")
    wait("the new version", lambda: read(m.path("f")) == b"theirs", 10)


@pytest.mark.parametrize("upload", ["close", "background"])
def test_uploaded_files_keep_no_descriptor(local, mount, upload):
    """P9: as long as the kernel remembers a name, if nobody has asked about it since."""
    m = mount(local, upload=upload)

    def descriptors():
        return len(os.listdir("/proc/%d/fd" % m.process.pid))
    for n in range(600):
        write(m.path("f%d" % n), body(1000, n))
        if n == 299:
            wait("the uploads", lambda: len(local.files()) == 300)
            before = descriptors()  # with those that the cache keeps open
    wait("the uploads", lambda: len(local.files()) == 600)
    wait("their end", lambda: descriptors() < before + 50)
