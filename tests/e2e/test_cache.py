"""The block cache: it survives restarts, damage and a full disk, and keeps to its limits."""
import glob
import os
import random
import subprocess

import pytest

import lib
from lib import body, read, same, wait, write

SIZE = (8 << 20) + 1000


def gets(s3d):
    return [r for r in s3d.server.new("GET") if r["key"] and "Boto" not in (r["agent"] or "")]


def block_files(m):
    found = [os.path.join(d, f) for d, _, fs in os.walk(m.cache) for f in fs
             if "/blocks" in d[len(m.cache):]]
    assert found, "no block files: %s" % sorted(lib.tree(m.cache))
    return found


def filled(s3d, mount, n=3, **opts):
    """A mount that has read n files and was unmounted."""
    for k in range(n):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d, **opts)
    for k in range(n):
        same(read(m.path("f%d" % k)), body(SIZE, k))
    m.umount()
    s3d.server.mark()
    return m


def check_all(m, n=3):
    for k in range(n):
        same(read(m.path("f%d" % k)), body(SIZE, k))


def test_it_survives_a_restart(s3d, mount):
    m = filled(s3d, mount)
    m.mount()
    check_all(m)
    assert gets(s3d) == []


def test_it_survives_a_kill(s3d, mount):
    """Some rows may be lost, no byte may be wrong."""
    for k in range(3):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d)
    check_all(m)
    m.kill()
    m.mount()
    check_all(m)


def flip(path, rand):
    """One byte in each 256 KiB block."""
    with open(path, "r+b") as f:
        size = os.path.getsize(path)
        for start in range(0, size, 256 << 10):
            off = start + rand.randrange(min(256 << 10, size - start))
            f.seek(off)
            byte = f.read(1)
            f.seek(off)
            f.write(bytes([byte[0] ^ 0x10]))


@pytest.mark.short
def test_flipped_bytes_are_found_and_fetched_again(s3d, mount):
    """C3: CRC32C per block, verified at its first use after the start."""
    m = filled(s3d, mount)
    for path in block_files(m):
        flip(path, random.Random(5))
    m.mount()
    check_all(m)
    assert sum(r["sent"] for r in gets(s3d)) >= SIZE
    m.umount()
    s3d.server.mark()
    m.mount()
    check_all(m)
    assert gets(s3d) == [], "the repaired blocks were not kept"


def damage_truncate(paths):
    for path in paths:
        os.truncate(path, os.path.getsize(path) // 2)


def damage_empty(paths):
    for path in paths:
        os.truncate(path, 0)


def damage_zero(paths):
    for path in paths:
        size = os.path.getsize(path)
        os.truncate(path, 0)
        os.truncate(path, size)


def damage_remove(paths):
    for path in paths:
        os.unlink(path)


def damage_swap(paths):
    data = [read(p) for p in paths]
    for path, other in zip(paths, data[1:] + data[:1]):
        with open(path, "r+b") as f:
            f.write(other)


@pytest.mark.parametrize("damage", [damage_truncate, damage_empty, damage_zero, damage_remove,
                                    damage_swap])
def test_damaged_block_files(s3d, mount, damage):
    m = filled(s3d, mount)
    damage(block_files(m))
    m.mount()
    check_all(m)


def test_block_files_removed_under_a_running_mount(s3d, mount):
    """C7: tmp cleaners."""
    for k in range(3):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d)
    check_all(m)
    damage_remove(block_files(m))
    with open("/proc/sys/vm/drop_caches", "w") if os.access("/proc/sys/vm/drop_caches", os.W_OK) \
            else open(os.devnull, "w") as f:
        f.write("1")
    check_all(m)


def index_files(m):
    return [p for p in glob.glob(os.path.join(m.cache, "*", "*"))
            if os.path.basename(p).startswith("index")]


@pytest.mark.parametrize("what", ["removed", "emptied", "garbage", "torn"])
def test_index_is_worth_only_time(s3d, mount, what):
    """P3, C4: the index can be deleted at any time; the journal's files stay."""
    m = filled(s3d, mount)
    m.mount()
    write(m.path("keep.part"), b"journal")
    m.umount()
    files = index_files(m)
    assert files, sorted(lib.tree(m.cache))
    for path in files:
        data = read(path)
        if what == "removed":
            os.unlink(path)
        else:
            write(path, {"emptied": b"", "garbage": body(8192),
                         "torn": data[:len(data) // 2] + bytes(len(data) // 2)}[what])
    m.mount()
    check_all(m)
    assert read(m.path("keep.part")) == b"journal"


def test_cap_holds(s3d, mount):
    """P9: the hard cap holds while five times as much is read."""
    for k in range(10):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d, cache_size="16M")
    most = 0
    for turn in range(2):
        for k in range(10):
            same(read(m.path("f%d" % k)), body(SIZE, k))
            most = max(most, m.disk())
    assert most <= 20 << 20, "%d bytes on disk" % most  # with the databases
    for k in (0, 9):
        same(read(m.path("f%d" % k)), body(SIZE, k))


def test_file_larger_than_the_cache(s3d, mount):
    s3d.put("big", body(64 << 20))
    m = mount(s3d, cache_size="8M")
    same(read(m.path("big")), body(64 << 20))
    assert m.disk() <= 12 << 20, m.disk()


@pytest.fixture
def small_disk(folder):
    if os.getuid():
        pytest.skip("needs root to mount a tmpfs")
    path = os.path.join(folder, "small")
    os.mkdir(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", path]).returncode:
        pytest.skip("cannot mount a tmpfs")
    yield path
    subprocess.run(["umount", "-l", path])


def test_full_disk_never_fails_a_read(small_disk, s3d, mount):
    """P9, C1: evict or bypass."""
    for k in range(8):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_reserve="1M")
    m.cache = os.path.join(small_disk, "cache")
    check_all(m, 8)
    room = os.statvfs(small_disk)
    try:
        with open(os.path.join(small_disk, "fill"), "wb", buffering=0) as f:
            f.write(bytes(room.f_bavail * room.f_frsize))
    except OSError:
        pass  # it is full now
    check_all(m, 8)
    m.umount()


def test_full_disk_is_enospc_for_a_writer(small_disk, s3d, mount):
    """C2: reported, at write or at close; never a truncated upload."""
    s3d.put("f", b"old")
    m = mount(s3d, cache_dir=os.path.join(small_disk, "cache"), cache_reserve="1M")
    with pytest.raises(OSError) as info:
        write(m.path("f"), body(40 << 20))
    assert info.value.errno == 28, info.value
    assert s3d.get("f") == b"old"
    assert read(m.path("f")) is not None
    m.kill()


def test_staged_bytes_are_never_evicted(s3d, mount):
    """P3: a .part that is larger than the cache stays while other files push through it."""
    for k in range(4):
        s3d.put("f%d" % k, body(SIZE, k))
    m = mount(s3d, cache_size="8M")
    write(m.path("x.part"), body(20 << 20, 9))
    check_all(m, 4)
    same(read(m.path("x.part")), body(20 << 20, 9))
    m.remount()
    check_all(m, 4)
    same(read(m.path("x.part")), body(20 << 20, 9))


def test_memory_is_bounded(s3d, mount, folder):
    """P9: 300 MB through, 256 MiB at most resident."""
    if lib.SANITIZER:
        pytest.skip("a sanitizer's memory is not the daemon's")
    path = os.path.join(folder, "big")
    with open(path, "wb") as f:
        for k in range(300):
            f.write(body(1 << 20, k % 7))
    s3d.put("big", path=path)
    m = mount(s3d)
    with open(m.path("big"), "rb") as f, open(path, "rb") as g:
        while True:
            a, b = f.read(1 << 20), g.read(1 << 20)
            same(a, b)
            if not a:
                break
    write(m.path("out"), body(100 << 20))
    assert m.rss() <= 256 << 20, "%d MiB" % (m.rss() >> 20)


def test_what_was_written_is_cached(s3d, mount):
    """A file just uploaded is read without a request."""
    m = mount(s3d)
    write(m.path("f"), body(SIZE))
    s3d.server.mark()
    same(read(m.path("f")), body(SIZE))
    assert gets(s3d) == []


def test_cache_serves_while_the_bucket_is_away(s3d, mount):
    """R2: cached clean data stays readable through a file that is open."""
    s3d.put("f", body(SIZE))
    m = mount(s3d)
    with open(m.path("f"), "rb") as f:
        same(f.read(), body(SIZE))
        s3d.server.rule("status", status=503)
        f.seek(0)
        same(f.read(), body(SIZE))
    same(read(m.path("f")), body(SIZE))
    s3d.server.clear()
    wait("it answers", lambda: os.path.exists(m.path("f")))
