"""Writing: the POSIX table of the application, one line of it a test.

Each test looks at the file through the mount, at the bucket (P2: close is upload), and, where
that could differ, at the file through a new mount with an empty cache.
"""
import ctypes
import errno
import mmap
import os
import random
import threading
import time

import pytest

import lib
from lib import body, fails, read, same, write

ALL = pytest.mark.stores("local", "s3d", "minio")
pytestmark = pytest.mark.stores("local", "s3d")
BIG = (17 << 20) + 77  # more than two parts
LIBC = ctypes.CDLL(None, use_errno=True)


def pwrite_all(path, pieces, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o666)
    try:
        for off, data in pieces:
            assert os.pwrite(fd, data, off) == len(data)
    finally:
        os.close(fd)


@pytest.mark.short
@ALL
@pytest.mark.parametrize("size", [0, 1, 5 << 20, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, BIG])
def test_close_is_upload(store, mnt, size):
    """P2: the whole file is in the bucket when close returns 0."""
    write(mnt.path("f"), body(size))
    same(store.get("f"), body(size))
    assert os.stat(mnt.path("f")).st_size == size
    same(read(mnt.path("f")), body(size))
    mnt.remount(wipe=True)
    same(read(mnt.path("f")), body(size))


def test_exclusive_create(store, mnt):
    store.put("g", b"x")
    os.close(os.open(mnt.path("f"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    fails(errno.EEXIST, os.open, mnt.path("f"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    fails(errno.EEXIST, os.open, mnt.path("g"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    assert store.get("f") == b"" and store.get("g") == b"x"


def test_truncate_at_open(store, mnt):
    store.put("f", body(BIG))
    write(mnt.path("f"), b"short")
    assert read(mnt.path("f")) == b"short" and store.get("f") == b"short"


def test_net_create_truncates_without_reading(s3d, mount):
    """O_RDWR|O_CREAT then ftruncate(0): the old bytes are not downloaded."""
    s3d.put("f", body(BIG))
    m = mount(s3d)
    s3d.server.mark()
    fd = os.open(m.path("f"), os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"new", 0)
    os.close(fd)
    assert s3d.get("f") == b"new"
    got = [r for r in s3d.server.new("GET") if r["key"].endswith("/f") and "Boto" not in r["agent"]]
    assert got == []


@ALL
def test_append_to_an_uploaded_object(store, mnt):
    """astroquery: 'ab' onto a final name that is shorter than it should be."""
    store.put("f", body(BIG)[:BIG // 2])
    with open(mnt.path("f"), "ab") as f:
        assert f.tell() == BIG // 2
        f.write(body(BIG)[BIG // 2:])
    same(read(mnt.path("f")), body(BIG))
    same(store.get("f"), body(BIG))


def test_append_moves_every_write_to_the_end(store, mnt):
    fd = os.open(mnt.path("f"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for n in range(50):
        os.pwrite(fd, b"%03d" % n, 0)
    os.close(fd)
    assert store.get("f") == b"".join(b"%03d" % n for n in range(50))


def test_unaligned_appends(store, mnt):
    want, rand = body(3 << 20), random.Random(1)
    with open(mnt.path("f"), "wb", buffering=0) as f:
        off = 0
        while off < len(want):
            off += f.write(want[off:off + rand.choice((1, 777, 4097, 65536, 131073))])
            assert os.stat(mnt.path("f")).st_size == off
    same(store.get("f"), want)


def test_change_in_the_middle_of_an_object(store, mnt):
    """r+: the rest of the object stays."""
    want = bytearray(body(BIG))
    store.put("f", bytes(want))
    with open(mnt.path("f"), "r+b") as f:
        for off in (0, 5000, 9 << 20, BIG - 3):
            f.seek(off)
            f.write(b"abc")
            want[off:off + 3] = b"abc"
    same(read(mnt.path("f")), bytes(want))
    same(store.get("f"), bytes(want))


def test_out_of_order_writes_leave_zeros(store, mnt):
    order = list(range(0, 40, 3))
    random.Random(2).shuffle(order)
    pwrite_all(mnt.path("f"), [(n * 100000, body(1000, n)) for n in order])
    want = bytearray(39 * 100000 + 1000)
    for n in order:
        want[n * 100000:n * 100000 + 1000] = body(1000, n)
    same(read(mnt.path("f")), bytes(want))
    same(store.get("f"), bytes(want))


def test_write_beyond_the_end_of_an_object(store, mnt):
    store.put("f", b"abc")
    pwrite_all(mnt.path("f"), [(100000, b"xyz")], os.O_WRONLY)
    same(store.get("f"), b"abc" + bytes(99997) + b"xyz")


def test_rewriting_what_was_already_sent(store, mnt):
    """A part that was uploaded while the file grew is sent again when it is changed."""
    want = bytearray(body(40 << 20))
    with open(mnt.path("f"), "wb") as f:
        for off in range(0, len(want), 1 << 20):
            f.write(want[off:off + (1 << 20)])
        f.flush()
        time.sleep(0.3)  # lets a part go; the test holds either way
        for off in (0, 9 << 20, 33 << 20):
            f.seek(off)
            f.write(b"changed")
            want[off:off + 7] = b"changed"
    same(store.get("f"), bytes(want))


@pytest.mark.parametrize("size", [0, 1, 4096, 300000, BIG, BIG + 1, BIG + 500000])
def test_truncate_both_ways(store, mnt, size):
    store.put("f", body(BIG))
    os.truncate(mnt.path("f"), size)
    want = body(BIG)[:size].ljust(size, b"\0")
    assert os.stat(mnt.path("f")).st_size == size
    same(read(mnt.path("f")), want)
    mnt.umount()
    same(store.get("f"), want)


def test_truncate_down_then_up_shows_zeros(store, mnt):
    store.put("f", body(1 << 20))
    with open(mnt.path("f"), "r+b") as f:
        f.truncate(1000)
        f.truncate(500000)
        f.seek(0)
        same(f.read(), body(1 << 20)[:1000] + bytes(499000))
    same(store.get("f"), body(1 << 20)[:1000] + bytes(499000))


def test_reader_sees_what_was_written_before_close(store, mnt):
    with open(mnt.path("f"), "wb", buffering=0) as w:
        w.write(b"one")
        with open(mnt.path("f"), "rb") as r:
            assert r.read() == b"one"
        w.write(b"two")
        assert read(mnt.path("f")) == b"onetwo"


@ALL
def test_shared_writable_mapping(store, mnt):
    """astropy mode='update': MAP_SHARED, msync, munmap, close."""
    want = bytearray(body(3 << 20))
    store.put("f", bytes(want))
    with open(mnt.path("f"), "r+b") as f:
        with mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED) as view:
            for off in (0, 123457, (3 << 20) - 5):
                view[off:off + 5] = b"moved"
                want[off:off + 5] = b"moved"
            view.flush()
    same(read(mnt.path("f")), bytes(want))
    mnt.umount()
    same(store.get("f"), bytes(want))


def test_mapping_that_outlives_its_descriptor(store, mnt):
    """D4: written back after close: journaled, uploaded by release or umount at the latest."""
    store.put("f", body(1 << 20))
    f = open(mnt.path("f"), "r+b")
    view = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED)
    f.close()
    view[1000:1005] = b"later"
    view.close()
    want = body(1 << 20)[:1000] + b"later" + body(1 << 20)[1005:]
    same(read(mnt.path("f")), want)
    mnt.umount()
    same(store.get("f"), want)


def test_fallocate(store, mnt):
    """numpy: KEEP_SIZE before large arrays.  Done, or EOPNOTSUPP; posix_fallocate works."""
    fd = os.open(mnt.path("f"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"abc")
    keep = LIBC.fallocate(fd, 1, ctypes.c_long(0), ctypes.c_long(20 << 20))
    assert keep == 0 or ctypes.get_errno() == errno.EOPNOTSUPP, os.strerror(ctypes.get_errno())
    assert os.fstat(fd).st_size == 3
    os.posix_fallocate(fd, 0, 1000)
    assert os.fstat(fd).st_size == 1000
    os.close(fd)
    same(store.get("f"), b"abc" + bytes(997))


def test_fsync_is_local(s3d, mount):
    """Durable on this disk, no request."""
    m = mount(s3d)
    with open(m.path("f"), "wb") as f:
        f.write(b"x" * 100000)
        f.flush()
        s3d.server.mark()
        os.fsync(f.fileno())
        os.fdatasync(f.fileno())
        assert s3d.server.new() == []


@ALL
def test_rename_to_a_new_name(store, mnt):
    store.put("d/a", body(BIG))
    os.rename(mnt.path("d/a"), mnt.path("d/b"))
    assert os.listdir(mnt.path("d")) == ["b"]
    same(read(mnt.path("d/b")), body(BIG))
    mnt.umount()
    assert store.files() == ["d/b"]
    same(store.get("d/b"), body(BIG))


def test_rename_over_a_file(store, mnt):
    """Atomic replacement, of a file that was just closed, too."""
    store.put("b", b"old")
    write(mnt.path("a"), b"new")
    os.rename(mnt.path("a"), mnt.path("b"))
    assert os.listdir(mnt.point) == ["b"] and read(mnt.path("b")) == b"new"
    mnt.umount()
    assert store.files() == ["b"] and store.get("b") == b"new"


def test_rename_of_an_open_file(store, mnt):
    with open(mnt.path("a"), "wb") as f:
        f.write(b"one")
        f.flush()
        os.rename(mnt.path("a"), mnt.path("b"))
        f.write(b"two")
    assert read(mnt.path("b")) == b"onetwo"
    mnt.umount()
    assert store.files() == ["b"] and store.get("b") == b"onetwo"


def test_rename_over_an_open_file(store, mnt):
    """The reader keeps the old bytes."""
    store.put("b", body(2 << 20, 1))
    with open(mnt.path("b"), "rb") as f:
        f.read(10)
        write(mnt.path("a.part"), body(2 << 20, 2))
        os.rename(mnt.path("a.part"), mnt.path("b"))
        f.seek(0)
        same(f.read(), body(2 << 20, 1))
        same(read(mnt.path("b")), body(2 << 20, 2))


def rename2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def test_rename_noreplace(store, mnt):
    """What mv asks for first."""
    for name in ("a", "b"):
        write(mnt.path(name), name.encode())
    fails(errno.EEXIST, rename2, mnt.path("a"), mnt.path("b"), 1)
    rename2(mnt.path("a"), mnt.path("c"), 1)
    assert sorted(os.listdir(mnt.point)) == ["b", "c"]
    mnt.umount()
    assert store.files() == ["b", "c"] and store.get("c") == b"a"


def test_rename_from_and_to_nothing(store, mnt):
    fails(errno.ENOENT, os.rename, mnt.path("a"), mnt.path("b"))
    write(mnt.path("a"), b"1")
    fails(errno.ENOENT, os.rename, mnt.path("a"), mnt.path("none/b"))
    os.mkdir(mnt.path("d"))
    fails(errno.EISDIR, os.rename, mnt.path("a"), mnt.path("d"))
    fails(errno.ENOTDIR, os.rename, mnt.path("d"), mnt.path("a"))
    os.rename(mnt.path("a"), mnt.path("a"))
    assert read(mnt.path("a")) == b"1"


def test_unlink(store, mnt):
    store.put("d/f", b"1")
    os.unlink(mnt.path("d/f"))
    fails(errno.ENOENT, os.stat, mnt.path("d/f"))
    fails(errno.ENOENT, os.unlink, mnt.path("d/f"))
    fails(errno.EISDIR, os.unlink, mnt.path("d"))
    mnt.umount()
    assert store.get("d/f") is None


def test_unlink_while_open(store, mnt):
    store.put("f", body(2 << 20))
    with open(mnt.path("f"), "rb") as f:
        f.read(1)
        os.unlink(mnt.path("f"))
        f.seek(0)
        same(f.read(), body(2 << 20))
        fails(errno.ENOENT, os.stat, mnt.path("f"))
    with open(mnt.path("g"), "w+b") as f:
        f.write(b"gone")
        f.flush()
        os.unlink(mnt.path("g"))
        f.seek(0)
        assert f.read() == b"gone"
    mnt.umount()
    assert store.files() == []


@ALL
def test_directories(store, mnt):
    """Empty ones persist; ENOTEMPTY, EEXIST, ENOENT as on a disk."""
    os.makedirs(mnt.path("a/b/c"))
    os.mkdir(mnt.path(".hidden"))
    fails(errno.EEXIST, os.mkdir, mnt.path("a"))
    fails(errno.ENOTEMPTY, os.rmdir, mnt.path("a"))
    fails(errno.ENOENT, os.mkdir, mnt.path("x/y"))
    fails(errno.ENOENT, os.rmdir, mnt.path("x"))
    write(mnt.path("a/f"), b"1")
    fails(errno.ENOTDIR, os.rmdir, mnt.path("a/f"))
    fails(errno.EEXIST, os.mkdir, mnt.path("a/f"))
    mnt.remount(wipe=True)
    assert sorted(lib.tree(mnt.point)) == [".hidden", "a", "a/b", "a/b/c", "a/f"]
    os.rmdir(mnt.path("a/b/c"))
    os.rmdir(mnt.path("a/b"))
    os.unlink(mnt.path("a/f"))
    assert os.path.isdir(mnt.path("a"))
    os.rmdir(mnt.path("a"))
    mnt.remount(wipe=True)
    assert os.listdir(mnt.point) == [".hidden"]


def test_directory_stays_when_its_last_file_goes(store, mnt):
    """The application's rmdir comes after the last unlink and must find it."""
    store.put("obs/f", b"1")
    os.unlink(mnt.path("obs/f"))
    assert os.path.isdir(mnt.path("obs"))
    os.rmdir(mnt.path("obs"))
    assert not os.path.exists(mnt.path("obs"))


def test_a_file_of_others_in_the_place_of_a_directory_is_seen(s3d, mount):
    """While its marker is being removed; what is written there replaces theirs (P5)."""
    m = mount(s3d, ttl=0)
    for name in ("d", "e"):
        os.mkdir(m.path(name))
        os.rmdir(m.path(name))
        s3d.put(name, b"theirs")
    write(m.path("d"), b"ours")
    write(m.path("f.part"), b"ours")
    os.rename(m.path("f.part"), m.path("e"))
    assert s3d.get("d") == s3d.get("e") == b"ours"


def test_directory_that_was_listed_shows_changes_at_once(store, mnt):
    store.put("d/a", b"1")
    assert os.listdir(mnt.path("d")) == ["a"]
    write(mnt.path("d/b"), b"2")
    write(mnt.path("d/c.part"), b"3")
    assert sorted(os.listdir(mnt.path("d"))) == ["a", "b", "c.part"]
    os.unlink(mnt.path("d/a"))
    os.rename(mnt.path("d/c.part"), mnt.path("d/c"))
    assert sorted(os.listdir(mnt.path("d"))) == ["b", "c"]


@ALL
def test_times_survive_a_remount(store, mnt):
    """rsync of an unchanged file rests on this."""
    write(mnt.path("f"), b"1")
    when = 1234567890123456789
    os.utime(mnt.path("f"), ns=(when, when))
    got = os.stat(mnt.path("f")).st_mtime_ns
    assert abs(got - when) < 1000000, (got, when)
    mnt.remount()
    assert os.stat(mnt.path("f")).st_mtime_ns == got
    if store.name == "local":  # a listing of S3 knows no metadata, and ls must not cost HEADs
        mnt.remount(wipe=True)
        assert os.stat(mnt.path("f")).st_mtime_ns == got
    else:
        mnt.umount()
        (key,) = [k for k in store.keys() if k.endswith("/f")]
        meta = store.s3.head_object(Bucket=store.bucket, Key=key)["Metadata"]
        assert any("1234567890" in v for v in meta.values()), meta


def test_time_of_a_write_is_now(store, mnt):
    before = time.time()
    write(mnt.path("f.part"), b"1")
    write(mnt.path("f"), b"1")
    for name in ("f.part", "f"):
        assert before - 2 <= os.stat(mnt.path(name)).st_mtime <= time.time() + 2, name


def test_modes_and_owners_are_accepted_quietly(store, mnt):
    write(mnt.path("f"), b"1")
    os.chmod(mnt.path("f"), 0o600)
    os.chmod(mnt.point, 0o755)
    os.chown(mnt.path("f"), os.getuid(), os.getgid())
    os.chown(mnt.path("f"), -1, -1)
    assert read(mnt.path("f")) == b"1"


def test_links_and_nodes_are_refused(store, mnt):
    write(mnt.path("f"), b"1")
    for call in (lambda: os.link(mnt.path("f"), mnt.path("g")),
                 lambda: os.mkfifo(mnt.path("p"))):
        with pytest.raises(OSError) as info:
            call()
        assert info.value.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


def test_attributes_of_a_file_being_written(store, mnt):
    with open(mnt.path("f"), "wb") as f:
        f.write(b"x" * 10)
        f.flush()
        assert os.getxattr(mnt.path("f"), "user.mastfs.state")
    assert os.getxattr(mnt.path("f"), "user.mastfs.etag")
    assert {"user.mastfs.etag", "user.mastfs.state"} <= set(os.listxattr(mnt.path("f")))


def test_idle_second_writer_does_not_clobber(store, mnt):
    """NamedTemporaryFile that stays open while astropy writes the same path."""
    idle = os.open(mnt.path("x.fits"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    write(mnt.path("x.fits"), b"S" * 5760)
    os.close(idle)
    assert read(mnt.path("x.fits")) == b"S" * 5760
    mnt.umount()
    assert store.get("x.fits") == b"S" * 5760


def test_dup_and_close_in_the_middle(s3d, mount):
    """D3, numpy.tofile: a FLUSH with the file still held publishes nothing."""
    m = mount(s3d)
    s3d.server.mark()
    with open(m.path("f"), "wb", buffering=0) as f:
        for n in range(7):
            dup = os.dup(f.fileno())
            os.write(dup, b"%d" % n * 1000)
            os.close(dup)
        assert [r for r in s3d.server.new() if r["method"] == "PUT"] == []
    puts = [r for r in s3d.server.new() if r["method"] == "PUT"]
    assert len(puts) == 1, puts
    assert s3d.get("f") == b"".join(b"%d" % n * 1000 for n in range(7))


def test_fork_that_inherits_the_descriptor(store, mnt):
    """D3: the shell's redirection: the last close of all publishes."""
    fd = os.open(mnt.path("f"), os.O_WRONLY | os.O_CREAT)
    pid = os.fork()
    if pid == 0:
        os.write(fd, b"child")
        os.close(fd)
        os._exit(0)
    os.waitpid(pid, 0)
    os.write(fd, b"+parent")
    os.close(fd)
    assert store.get("f") == b"child+parent"
    assert os.system("echo shell > %s" % mnt.path("g")) == 0
    assert store.get("g") == b"shell\n"


def test_temporary_names_stay_local(store, mnt):
    """P6: visible here, never in the bucket; they survive a remount."""
    names = ["a.part", "b.tmp", "c.partial", ".d.swp", ".nfs0001", ".~lock.x#", ".x.fits.Ab12Cd",
             "f.fits.a1B2c3D4", "tmpabcd1234", ".___atomic_write0", "sedAb12Cd", "ziAb12Cd"]
    os.mkdir(mnt.path(".download_state"))
    names.append(".download_state/job.json")
    for name in names:
        write(mnt.path(name), name.encode())
    mnt.remount()
    for name in names:
        assert read(mnt.path(name)) == name.encode(), name
    assert store.files() == []
    for name in names:
        os.unlink(mnt.path(name))


def test_local_only_is_an_option(s3d, mount):
    m = mount(s3d, local_only="*.foo")
    write(m.path("a.foo"), b"1")
    write(m.path("b.part"), b"2")
    assert s3d.files() == ["b.part"]


@ALL
def test_three_writers_at_once(store, mnt):
    errors = []

    def writer(n):
        data = body(BIG, n)
        try:
            with open(mnt.path("f%d.part" % n), "wb") as f:
                for off in range(0, BIG, 200003):
                    f.write(data[off:off + 200003])
            os.rename(mnt.path("f%d.part" % n), mnt.path("f%d" % n))
        except OSError as err:
            errors.append(err)

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    for n in range(3):
        same(read(mnt.path("f%d" % n)), body(BIG, n))
    mnt.umount()
    assert store.files() == ["f0", "f1", "f2"]
    for n in range(3):
        same(store.get("f%d" % n), body(BIG, n))


@pytest.mark.short
def test_rename_returns_when_it_is_there(store, mount):
    """P2, P6: also right after the close, whose RELEASE the kernel sends in its own time."""
    m = mount(store)
    for n in range(40):
        write(m.path("f.part"), b"%d" % n * 1000)
        os.rename(m.path("f.part"), m.path("f"))
        assert store.get("f") == b"%d" % n * 1000, n


def test_moved_there_and_back_by_two_mounts(s3d, mount):
    """P5: the second move puts the very bytes, so the very ETag, where the first took them
    from: the DELETE that the first mount owes must not meet them."""
    a, b = mount(s3d, ttl=0), mount(s3d, ttl=0)
    s3d.put("d/f", body(BIG))
    for n in range(5):
        os.rename(a.path("d/f"), a.path("d/g"))
        os.rename(b.path("d/g"), b.path("d/f"))
        a.umount()  # what it owes is done
        a = mount(s3d, ttl=0)
        assert s3d.files() == ["d/f"], n
    same(read(a.path("d/f")), body(BIG))


def test_directory_moved_there_and_back_by_two_mounts(s3d, mount):
    """P5: the same, of many files at once."""
    a, b = mount(s3d, ttl=0), mount(s3d, ttl=0)
    names = ["f%03d" % n for n in range(200)]
    for name in names:
        s3d.put("d/" + name, body(1000))
    os.rename(a.path("d"), a.path("e"))
    os.rename(b.path("e"), b.path("d"))
    a.umount()
    assert s3d.files() == ["d/" + name for name in names]


def test_rename_sends_the_old_name_away(s3d, mount):
    """Who was told that a file moved sees it under one name, by any client."""
    m = mount(s3d)
    s3d.put("d/f", body(BIG))
    with open(m.path("d/f"), "rb") as reader:
        os.rename(m.path("d/f"), m.path("d/g"))
        assert s3d.files() == ["d/g"]
        same(reader.read(), body(BIG))


def test_same_name_open_on_another_mount(s3d, mount, folder):
    """P2: another mount's file of this name and number is not this one, still held."""
    other = lib.S3dStore(os.path.join(folder, "other"))
    try:
        a, b = mount(s3d), mount(other)
        held = open(a.path("f"), "wb", buffering=0)
        held.write(b"1")
        other.server.rule("delay", method="PUT", key="(^|/)f$", secs=1)  # a RELEASE's is late
        with open(b.path("f"), "wb", buffering=0) as f:
            assert os.fstat(f.fileno()).st_ino == os.fstat(held.fileno()).st_ino
            f.write(b"2")
        assert other.get("f") == b"2"
        assert s3d.get("f") is None
        held.close()
        assert s3d.get("f") == b"1"
    finally:
        b.force_out()
        other.stop()
