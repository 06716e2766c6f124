"""Reading: exactly the bytes of the version that was open (P1), however they are asked for."""
import errno
import mmap
import os
import random
import stat
import threading
import time

import pytest

from lib import body, difference, fails, read, same

SIZE = (9 << 20) + 4321
STORES = pytest.mark.stores("local", "s3d", "minio")


@pytest.mark.short
@STORES
def test_whole_file(store, mount):
    store.put("d/f.fits", body(SIZE))
    m = mount(store)
    same(read(m.path("d/f.fits")), body(SIZE))
    same(read(m.path("d/f.fits")), body(SIZE))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, (256 << 10) - 1, 256 << 10,
                                  (256 << 10) + 1, 3 << 20])
def test_sizes_at_the_edges(store, mount, size):
    store.put("f", body(size))
    m = mount(store)
    assert os.stat(m.path("f")).st_size == size
    same(read(m.path("f")), body(size))
    with open(m.path("f"), "rb") as f:
        f.seek(size)
        assert f.read(10) == b""
        f.seek(size + 100)
        assert f.read(10) == b""


def test_random_reads(store, mount):
    want = body(SIZE)
    store.put("f", want)
    m = mount(store)
    rand = random.Random(4)
    with open(m.path("f"), "rb", buffering=0) as f:
        for _ in range(300):
            off, n = rand.randrange(SIZE), rand.choice((1, 100, 4096, 70000, 1 << 20))
            got = os.pread(f.fileno(), n, off)
            assert got == want[off:off + n], "pread(%d, %d): %s" % (
                n, off, difference(got, want[off:off + n]))


@STORES
def test_private_and_shared_mappings(store, mount):
    """The engine maps whole files privately and writable; the writes go nowhere."""
    want = body(SIZE)
    store.put("f", want)
    m = mount(store)
    with open(m.path("f"), "rb") as f:
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as view:
            for off in range(0, SIZE, 8192):
                assert view[off] == want[off], off
            view[:4] = b"XXXX"
            same(view[4:], want[4:])
        with mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as view:
            same(view[:], want)


@pytest.mark.stores("s3d")
def test_many_readers_at_once(store, mount):
    """P9: 32 threads over 8 cold files; every byte right."""
    for n in range(8):
        store.put("f%d" % n, body(SIZE, n))
    m = mount(store)
    errors = []

    def reader(k):
        rand, want = random.Random(k), body(SIZE, k % 8)
        with open(m.path("f%d" % (k % 8)), "rb") as f:
            for _ in range(30):
                off = rand.randrange(SIZE)
                if os.pread(f.fileno(), 50000, off) != want[off:off + 50000]:
                    errors.append((k, off))

    threads = [threading.Thread(target=reader, args=(k,)) for k in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert m.rss() < 256 << 20 or os.environ.get("MASTFS_SANITIZE"), m.rss()


def test_beyond_five_gigabytes(local, mount):
    """64-bit offsets: a sparse object of 6 GiB with marks at its far end."""
    marks = {0: b"begin", (4 << 30) - 3: b"across 4G", (5 << 30) + 7: b"far", (6 << 30) - 3: b"end"}
    with open(local.path("big.fits"), "wb") as f:
        for off, text in marks.items():
            f.seek(off)
            f.write(text)
    m = mount(local)
    assert os.stat(m.path("big.fits")).st_size == 6 << 30
    with open(m.path("big.fits"), "rb", buffering=0) as f:
        for off, text in marks.items():
            assert os.pread(f.fileno(), len(text), off) == text, off
        assert f.seek(0, os.SEEK_END) == 6 << 30
        with mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as view:
            for off, text in marks.items():
                assert view[off:off + len(text)] == text, off


def test_directories_that_are_only_in_keys(store, mount):
    store.put("a/b/c/d.fits", b"1")
    store.put("a/e.fits", b"2")
    m = mount(store)
    assert os.listdir(m.point) == ["a"]
    assert sorted(os.listdir(m.path("a"))) == ["b", "e.fits"]
    assert read(m.path("a/b/c/d.fits")) == b"1"
    fails(errno.ENOENT, os.stat, m.path("a/none"))
    fails(errno.ENOENT, os.stat, m.path("a/b/none/x"))
    fails(errno.ENOTDIR, os.stat, m.path("a/e.fits/x"))
    fails(errno.EISDIR, read, m.path("a"))


def test_readdir_gives_types_and_stable_inodes(store, mount):
    store.put("d/f", b"1")
    store.put("d/s/f", b"1")
    m = mount(store)
    with os.scandir(m.path("d")) as entries:
        kinds = {e.name: (e.is_dir(follow_symlinks=False), e.inode()) for e in entries}
    assert {n: k[0] for n, k in kinds.items()} == {"f": False, "s": True}
    for _ in range(2):
        assert os.stat(m.path("d/f")).st_ino == kinds["f"][1]
    assert stat.S_ISDIR(os.stat(m.path("d/s")).st_mode)


def test_large_directory(store, mount):
    """Three pages; each name once; seekdir works."""
    for n in range(2500):
        store.put("d/n%05d" % n, b"")
    m = mount(store)
    want = ["n%05d" % n for n in range(2500)]
    assert sorted(os.listdir(m.path("d"))) == want
    assert sorted(os.listdir(m.path("d"))) == want


def test_names_of_all_sorts(store, mount):
    names = ["sp ace", "pl+us", "per%cent", "a=b&c", "q?", "#hash", "ünï", "日本", "tab\tin",
             "back\\slash", "'quote\"", "~", "-dash", "x" * 255, "semi;colon", "*star"]
    for name in names:
        store.put("d/" + name, name.encode())
    m = mount(store)
    assert sorted(os.listdir(m.path("d"))) == sorted(names)
    for name in names:
        assert read(m.path("d", name)).decode() == name


def test_time_of_objects_is_stable_and_real(store, mount):
    store.put("f", b"1")
    m = mount(store)
    first = os.stat(m.path("f")).st_mtime
    assert abs(first - time.time()) < 120
    assert os.stat(m.path("f")).st_mtime == first
    m.remount(wipe=True)
    assert os.stat(m.path("f")).st_mtime == first


def test_extended_attributes_tell_the_state(store, mount):
    store.put("f", b"1" * 1000)
    m = mount(store)
    assert os.getxattr(m.path("f"), "user.mastfs.etag")
    assert os.getxattr(m.path("f"), "user.mastfs.cached")
    assert os.getxattr(m.path("f"), "user.mastfs.state")
    fails(errno.ENODATA, os.getxattr, m.path("f"), "user.other")
    # ls asks no further file for its label once it heard this.
    fails(errno.ENOTSUP, os.getxattr, m.path("f"), "security.capability")
