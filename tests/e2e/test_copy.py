"""cp of a whole file inside the mount is a copy within the store: no byte comes or goes."""
import errno
import os
import re
import subprocess

import pytest

import lib
from lib import body, read, same, wait

SIZE = 20 << 20
CLOUDS = pytest.mark.stores("s3d", "minio", "azurite", "fake_gcs", "gcsd")


def copy(m, source, to):
    """As coreutils asks for it; what copy_file_range gave."""
    with open(m.path(source), "rb") as f, open(m.path(to), "wb") as g:
        return os.copy_file_range(f.fileno(), g.fileno(), 1 << 30)


def fetched(m, name):
    """Bytes of the object that came here, by the daemon's log."""
    return sum(int(n) for n in re.findall(
        r"http: GET \S*%s\S*: 206, (\d+) bytes" % re.escape(name), m.log()))


@CLOUDS
def test_cp_moves_no_bytes(store, mount):
    store.put("dir/source", body(SIZE))
    m = mount(store)
    subprocess.check_call(["cp", m.path("dir/source"), m.path("copy")])
    same(store.get("copy"), body(SIZE))
    assert fetched(m, "source") == 0 and fetched(m, "copy") == 0
    assert os.getxattr(m.path("copy"), "user.mastfs.state") == b"clean"
    before = os.stat(m.path("copy")).st_mtime_ns
    assert abs(before / 1e9 - os.stat(m.path("dir/source")).st_ctime) < 3600
    same(read(m.path("copy")), body(SIZE))
    m.umount()
    m.wipe()
    m.mount()
    assert os.stat(m.path("copy")).st_mtime_ns == before
    assert sorted(store.files()) == ["copy", "dir/source"]


def test_what_it_asks(s3d, mount):
    """100 MB: no GET of data, no PUT of bytes."""
    s3d.put("source", body(100 << 20))
    m = mount(s3d)
    os.stat(m.path("source"))
    s3d.server.mark()
    subprocess.check_call(["cp", m.path("source"), m.path("copy")])
    new = s3d.server.new()
    assert not [r for r in new if r["method"] == "GET" and r["key"].endswith("source")], new
    puts = [r for r in new if r["method"] in ("PUT", "POST")]
    assert len(puts) == 1 and puts[0]["received"] == 0, puts
    assert [c["op"] for c in s3d.server.commits(lib.PREFIX + "copy")] == ["copy"]


def test_over_a_file_and_with_its_time(s3d, mount):
    s3d.put("source", body(SIZE))
    s3d.put("copy", b"before")
    m = mount(s3d)
    os.utime(m.path("source"), ns=(0, 1500000000000000000))
    subprocess.check_call(["cp", "-p", m.path("source"), m.path("copy")])
    same(s3d.get("copy"), body(SIZE))
    assert os.stat(m.path("copy")).st_mtime_ns == 1500000000000000000
    assert not [c for c in s3d.server.commits(lib.PREFIX + "copy") if c["op"] == "delete"]


def test_written_on(s3d, mount):
    """The copy is a file like any other, for the handle that made it too."""
    s3d.put("source", body(SIZE))
    m = mount(s3d)
    with open(m.path("source"), "rb") as f, open(m.path("copy"), "w+b") as g:
        assert os.copy_file_range(f.fileno(), g.fileno(), 1 << 30) == SIZE
        same(os.pread(g.fileno(), 1000, 5000), body(SIZE)[5000:6000])
        os.pwrite(g.fileno(), b"more", SIZE)
        assert os.fstat(g.fileno()).st_size == SIZE + 4
    same(s3d.get("copy"), body(SIZE) + b"more")
    same(read(m.path("copy")), body(SIZE) + b"more")
    same(read(m.path("source")), body(SIZE))


@pytest.mark.parametrize("what", ["refused", "changed", "written", "local", "part", "dirty"])
def test_falls_back_to_bytes(s3d, mount, what):
    """Whatever is in the way, the kernel copies, and the bytes are right."""
    s3d.put("source", body(SIZE))
    m = mount(s3d)
    os.stat(m.path("source"))
    want, to, length = body(SIZE), "copy.part" if what == "local" else "copy", 1 << 30
    f, g = open(m.path("source"), "r+b"), open(m.path(to), "w+b")
    read_first = os.pread(f.fileno(), SIZE, 0)
    same(read_first, want)  # so that what changed in the store is had from the cache
    if what == "refused":
        s3d.server.rule("status", method="PUT", header="x-amz-copy-source", status=403,
                        code="AccessDenied", count=1000000)
    elif what == "changed":
        s3d.put("source", b"another")
    elif what == "written":
        g.write(b"first")
        g.flush()
        g.seek(0)
    elif what == "part":
        length = SIZE - 1
        want = want[:-1]
    elif what == "dirty":
        os.pwrite(f.fileno(), b"new", 0)
        want = b"new" + want[3:]
    done = 0
    while done < len(want):
        n = os.copy_file_range(f.fileno(), g.fileno(), length - done)
        assert n, done
        done += n
    g.close()
    f.close()
    same(read(m.path(to)), want)
    if what != "local":
        same(s3d.get(to), want)
    assert not [c for c in s3d.server.commits(lib.PREFIX + to) if c["op"] == "copy"]


def test_the_answer_is_lost(s3d, mount):
    """The copy got through and nobody heard of it: what follows replaces it, and is no
    conflict (P5)."""
    s3d.put("source", body(SIZE))
    m = mount(s3d, read_timeout="2s")
    os.stat(m.path("source"))
    s3d.server.rule("drop_reply", method="PUT", header="x-amz-copy-source", count=1000000)
    try:
        assert copy(m, "source", "copy") == SIZE
    finally:
        s3d.server.clear()
    same(s3d.get("copy"), body(SIZE))
    same(read(m.path("copy")), body(SIZE))


def test_another_made_it_first(s3d, mount):
    """P5: what another client put there meanwhile is not written over."""
    s3d.put("source", body(SIZE))
    m = mount(s3d)
    os.stat(m.path("source"))
    f, g = open(m.path("source"), "rb"), open(m.path("copy"), "wb")
    s3d.put("copy", b"theirs")
    done = 0
    while done < SIZE:
        done += os.copy_file_range(f.fileno(), g.fileno(), SIZE - done)
    lib.fails(errno.ESTALE, g.close)
    f.close()
    assert s3d.get("copy") == b"theirs"


@pytest.mark.parametrize("slow", [True, False])
def test_killed(s3d, mount, slow):
    """P4: before the copy there is nothing, after it all of it; nothing is left over."""
    s3d.put("source", body(SIZE))
    m = mount(s3d)
    os.stat(m.path("source"))
    s3d.server.mark()
    if slow:
        s3d.server.rule("delay", method="PUT", secs=1.5)
    cp = subprocess.Popen(["cp", m.path("source"), m.path("copy")], stderr=subprocess.DEVNULL)
    if slow:
        wait("it copies", lambda: s3d.server.new("PUT"))
    else:
        assert cp.wait() == 0
    m.kill()
    cp.wait()
    m.mount()
    if slow:
        assert not os.path.exists(m.path("copy")) or read(m.path("copy")) == body(SIZE)
    else:
        same(read(m.path("copy")), body(SIZE))
    m.umount()
    got = s3d.get("copy")
    assert got == body(SIZE) or slow and got is None
