"""More written than there is room for: writers slow down, and a full disk says so (P9)."""
import contextlib
import errno
import glob
import mmap
import os
import subprocess

import pytest

import lib
from lib import body, read, same, write


@pytest.fixture
def small_disk(folder):
    path = os.path.join(folder, "disk")
    os.mkdir(path)
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none",
                                      path]).returncode:
        pytest.skip("needs root to mount a tmpfs")
    yield path
    subprocess.run(["umount", "-l", path])


def fill(disk, leave=0):
    """A file that takes all of it but so many bytes."""
    ballast = os.path.join(disk, "ballast")
    with open(ballast, "wb", buffering=0) as f:
        for size in (1 << 20, 4096):
            try:
                while f.write(bytes(size)) == size:
                    pass
            except OSError as err:
                assert err.errno == errno.ENOSPC
        f.truncate(f.seek(0, os.SEEK_END) - leave)
    return ballast


def test_full_disk_is_enospc_at_write(s3d, mount, small_disk):
    """P9, C2: never a truncated upload; what was there stays."""
    s3d.put("f", b"old")
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"))
    fd = os.open(m.path("f"), os.O_WRONLY | os.O_TRUNC)
    off = 0
    with pytest.raises(OSError) as failed:
        while off < 64 << 20:
            off += os.pwrite(fd, body(1 << 20), off)
    assert failed.value.errno == errno.ENOSPC
    lib.fails(errno.ENOSPC, os.close, fd)
    assert s3d.get("f") == b"old"
    m.force_out()


@pytest.mark.parametrize("status, code", [(507, ""), (403, "QuotaExceeded")])
def test_full_store_is_mounted(s3d, mount, status, code):
    """It can be read, and what is removed makes room; only writes wait for that."""
    for name in ("read", "removed"):
        s3d.put(name, body(300000))
    s3d.server.rule("status", method="PUT", status=status, code=code)
    m = mount(s3d)
    assert m.log().count("is full") == 1
    same(read(m.path("read")), body(300000))
    f = open(m.path("new"), "wb", buffering=0)
    f.write(b"kept")
    lib.fails(errno.ENOSPC, f.close)
    os.unlink(m.path("removed"))
    lib.wait("the removal", lambda: "removed" not in s3d.files())
    s3d.server.clear()
    m.remount()
    assert s3d.get("new") == b"kept" and s3d.files() == ["new", "read"]


@pytest.fixture
def full(small_disk):
    """full(mount): a file that is closed in vain, as the journal has no room, nor any to
    spare; what fills the disk."""
    def make(m):
        for spare in glob.glob(os.path.join(small_disk, "cache", "*", "spare")):
            os.unlink(spare)
        fd = os.open(m.path("f"), os.O_WRONLY | os.O_CREAT)
        os.write(fd, body(100000))
        ballast = fill(small_disk)
        lib.fails(errno.ENOSPC, os.close, fd)
        lib.wait("the try at its release", lambda: m.log().count("is full") > 1, 20)
        return ballast
    return make


def test_close_that_failed_is_made_up_for(s3d, mount, small_disk, full):
    """P2: its bytes are kept, and go up once there is room."""
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), upload="background")
    ballast = full(m)
    same(lib.read(m.path("f")), body(100000))
    os.unlink(ballast)
    lib.wait("the next try", lambda: s3d.get("f") == body(100000), 60)
    m.umount()


def test_close_that_failed_is_told_at_the_end(s3d, mount, small_disk, full):
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), upload="background",
              drain="1s")
    full(m)
    m.process.terminate()
    assert m.process.wait(60 * lib.SLOW) == 75, m.tail()
    m.process = None
    assert "f" in m.log().split("1 changes are not in the bucket yet")[1].split()


def test_disk_full_of_what_was_read(s3d, mount, small_disk):
    """P9: what can be fetched again goes first, for what is copied to be written to, too."""
    s3d.put("read", body(18 << 20, 1))
    s3d.put("f", body(10 << 20, 2))
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_size="30M")
    for name in ("f", "read"):
        with open(m.path(name), "rb") as f:
            f.read()
    with open(m.path("f"), "r+b") as f:
        f.write(b"mine")
    same(s3d.get("f"), b"mine" + body(10 << 20, 2)[4:])
    fd = os.open(m.path("room"), os.O_WRONLY | os.O_CREAT)
    with open(m.path("read"), "rb") as f:
        f.read()
    os.posix_fallocate(fd, 0, 14 << 20)
    os.close(fd)
    assert s3d.get("room") == bytes(14 << 20)


@pytest.mark.parametrize("name", ["r%d", "r%d.fits"])
def test_disk_full_of_what_an_earlier_mount_read(s3d, mount, small_disk, name):
    """P9: it goes, too, though the index cannot say so before there is room."""
    for i in range(18):
        s3d.put(name % i, body(1 << 20, i))
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_size="30M")
    for i in range(18):
        lib.read(m.path(name % i))
    m.remount()
    write(m.path("out"), body(20 << 20))
    same(s3d.get("out"), body(20 << 20))
    for i in range(18):
        same(lib.read(m.path(name % i)), body(1 << 20, i))
    assert m.log().count("is full") < 20


def test_disk_full_with_many_small_files(s3d, mount, small_disk):
    """P9: one that frees too little for the index is followed by the next."""
    files = 700
    for i in range(files):
        s3d.put("d/r%d" % i, b"x%d" % i)
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_size="30M")
    for i in range(files):
        lib.read(m.path("d/r%d" % i))
    m.remount()
    fd = os.open(m.path("d/mine"), os.O_WRONLY | os.O_CREAT)
    ballast = fill(small_disk)
    os.write(fd, bytes(8192))
    assert m.log().count("is full") < 50
    os.unlink(ballast)
    os.close(fd)
    m.remount()
    for i in range(files):
        assert lib.read(m.path("d/r%d" % i)) == b"x%d" % i


def write_until_full(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    off = 0
    with pytest.raises(OSError) as failed:
        while off < 64 << 20:
            off += os.pwrite(fd, body(1 << 16), off)
    assert failed.value.errno == errno.ENOSPC
    return fd


def test_disk_full_of_what_was_written_mounts_again(s3d, mount, small_disk):
    """P3: and what was acknowledged goes up."""
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), upload="background")
    s3d.server.rule("status", method="PUT", status=503)
    write(m.path("acknowledged"), body(1 << 20, 1))
    fd = write_until_full(m.path("big"))
    m.kill()
    with contextlib.suppress(OSError):
        os.close(fd)
    s3d.server.clear()
    m.mount()
    lib.wait("its upload", lambda: s3d.get("acknowledged") == body(1 << 20, 1), 60)


@pytest.mark.parametrize("times", [1, 3])
def test_what_fills_the_disk_can_be_removed(s3d, mount, small_disk, times):
    """What makes room needs a little of it first, which is there again afterwards."""
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"))
    for _ in range(times):
        write(m.path("x.part"), b"x")
        os.close(write_until_full(m.path("big.part")))
        os.rename(m.path("x.part"), m.path("y.part"))
        os.mkdir(m.path("x.tmp"))
        os.rmdir(m.path("x.tmp"))
        os.unlink(m.path("big.part"))
        os.unlink(m.path("y.part"))


def test_what_was_read_makes_room_for_a_removal(s3d, mount, small_disk):
    s3d.put("r", body(8 << 20))
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"))
    write(m.path("x.part"), b"x")
    for spare in glob.glob(os.path.join(small_disk, "cache", "*", "spare")):
        os.unlink(spare)
    lib.read(m.path("r"))
    fill(small_disk)
    os.unlink(m.path("x.part"))


def test_more_than_staging_size_slows_writers(s3d, mount):
    """Not one write fails, and no more is kept here than the limit and what is in flight."""
    m = mount(s3d, staging_size="32M", upload="background")
    s3d.server.rule("delay", method="PUT", secs=0.3)
    most = 0
    for n in range(16):
        write(m.path("f%d" % n), body(8 << 20, n))
        staged = [os.stat(p).st_blocks * 512
                  for p in glob.glob(os.path.join(m.cache, "*", "staged", "*"))]
        most = max(most, sum(staged))
    # A write that has waited a second is done all the same: some of those as well.
    assert most <= 40 << 20, "%d MiB were kept" % (most >> 20)
    m.umount()
    for n in range(16):
        same(s3d.get("f%d" % n), body(8 << 20, n))


def test_file_larger_than_staging_size(s3d, mount):
    """It goes as fast as its parts go up."""
    m = mount(s3d, staging_size="16M")
    write(m.path("f"), body(96 << 20))
    same(s3d.get("f"), body(96 << 20))


@pytest.mark.parametrize("evictable", (18 << 20, 0))
def test_mapping_that_the_disk_takes_a_part_of(s3d, mount, small_disk, evictable):
    """P1, P9: the kernel takes a short write of mapped pages for a whole one.  Room is made for
    the rest, or msync says that there is none and nothing is published."""
    s3d.put("read", body(evictable))
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_size="30M")
    lib.read(m.path("read"))
    want = body(2 << 20, 7)
    fd = os.open(m.path("f"), os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, len(want))
    fill(small_disk, 36 << 10)
    with mmap.mmap(fd, len(want), mmap.MAP_SHARED) as view:
        view[:] = want
        if evictable:
            view.flush()
        else:
            lib.fails(errno.ENOSPC, view.flush)
    if evictable:
        os.close(fd)
        same(s3d.get("f"), want)
    else:
        with contextlib.suppress(OSError):  # the kernel has told it once already
            os.close(fd)
        os.unlink(os.path.join(small_disk, "ballast"))
        m.umount()
        assert s3d.get("f") is None


def test_close_that_failed_is_made_up_for_after_a_refused_rename(s3d, mount, small_disk, full):
    """P2: it is back under the name where nobody will close it once more."""
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"))
    ballast = full(m)
    s3d.server.rule("status", op="put", status=403, code="AccessDenied")
    os.unlink(ballast)
    lib.fails(errno.EACCES, os.rename, m.path("f"), m.path("g"))
    s3d.server.clear()
    m.umount()
    assert s3d.get("f") == body(100000)
