"""Other clients: one version a read (P1), no lost update (P5), unreachable is not deleted (P10)."""
import ctypes
import errno
import mmap
import os
import threading
import time

import pytest

import lib
from lib import PREFIX, body, difference, fails, pread, read, same, wait, write

SIZE = 24 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


def old_or_stale(read_all, old):
    """The old bytes, all of them, or ESTALE; never a mix."""
    try:
        got = read_all()
    except OSError as err:
        assert err.errno == errno.ESTALE, err
        return
    text = difference(got, old)
    assert not text, "not the version that was open: " + text


def test_replaced_while_open(store, mount):
    """P1, V1: same size, so that only the version tells."""
    old, new = body(SIZE, 1), body(SIZE, 2)
    store.put("f", old)
    m = mount(store, ttl=0)
    with open(m.path("f"), "rb", buffering=0) as f:
        assert f.read(65536) == old[:65536]
        store.put("f", new)
        old_or_stale(lambda: pread(f.fileno(), SIZE, 0), old)
        same(read(m.path("f")), new)
        old_or_stale(lambda: pread(f.fileno(), SIZE, 0), old)


def test_replaced_between_two_gets_of_one_read(s3d, mount):
    """P1, F39: the swap comes in the middle, whichever GET that is."""
    for nth in (1, 2, 4):
        old, new = body(SIZE, 1), body(SIZE, 2)
        name = "f%d" % nth
        s3d.put(name, old)
        s3d.put(".other", new)
        m = mount(s3d, ttl=0)
        s3d.server.clear()
        s3d.server.rule("swap", method="GET", key=name + "$", nth=nth, count=1,
                        **{"from": PREFIX + ".other"})
        with open(m.path(name), "rb", buffering=0) as f:
            old_or_stale(lambda: b"".join(iter(lambda: f.read(1 << 20), b"")), old)
        s3d.server.clear()
        same(read(m.path(name)), new)
        m.umount()


def test_P1_its_time_is_changed_while_it_is_read(s3d, mount):
    """By this mount: the store has another version before its answer has come."""
    data = body(12 << 20)
    where = {"Bucket": "test", "Key": PREFIX + "f"}
    up = {**where, "UploadId": s3d.s3.create_multipart_upload(**where)["UploadId"]}
    part = s3d.s3.upload_part(**up, PartNumber=1, Body=data)
    s3d.s3.complete_multipart_upload(  # a copy has another ETag
        **up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    m, was = mount(s3d), s3d.s3.head_object(**where)["ETag"]
    s3d.server.rule("delay", op="copy", secs=1.5)
    with open(m.path("f"), "rb", 0) as f:
        assert f.read(1000) == data[:1000]
        thread = threading.Thread(target=os.utime, args=(m.path("f"), (1e9, 1e9)))
        thread.start()
        wait("another version", lambda: s3d.s3.head_object(**where)["ETag"] != was)
        same(pread(f.fileno(), 1 << 20, 10 << 20), data[10 << 20:11 << 20])
        thread.join()
        same(read(m.path("f")), data)
    assert os.stat(m.path("f")).st_mtime == 1e9


def test_deleted_while_open(s3d, mount):
    """V2: cached bytes may go on, the rest is ESTALE."""
    s3d.put("f", body(SIZE))
    m = mount(s3d, ttl=0)
    with open(m.path("f"), "rb", buffering=0) as f:
        assert f.read(4096) == body(SIZE)[:4096]
        s3d.delete("f")
        old_or_stale(lambda: pread(f.fileno(), SIZE, 0), body(SIZE))
    fails(errno.ENOENT, os.stat, m.path("f"))


def test_replaced_with_the_same_size_in_the_same_second(store, mount):
    """V3: the version is the ETag, not size and time."""
    m = mount(store, ttl=0)
    for n in range(6):
        want = b"%d" % n * 5000
        store.put("f", want)
        same(read(m.path("f")), want)


def test_change_is_seen_after_the_ttl(s3d, mount):
    s3d.put("f", b"1" * 5000)
    m = mount(s3d, ttl="1s")
    assert read(m.path("f")) == b"1" * 5000
    s3d.put("f", b"2" * 7000)
    s3d.put("g", b"new")

    def changed():
        got = read(m.path("f"))
        assert got in (b"1" * 5000, b"2" * 7000), "a mix of two versions"
        return got[:1] == b"2"
    wait("the new version", changed)
    wait("the new name", lambda: "g" in os.listdir(m.point))


def test_size_and_bytes_are_of_one_version(s3d, mount):
    """V4: a longer and a shorter version in turns; never one's length with the other's bytes."""
    m = mount(s3d, ttl=0)
    for n in range(10):
        want = body(300000 if n % 2 else 70000, n)
        s3d.put("f", want)
        with open(m.path("f"), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            got = f.read()
        assert size == len(want), (size, len(want))
        same(got, want)


def staged_somewhere(m, data):
    for folder, _, files in os.walk(m.cache):
        for name in files:
            with open(os.path.join(folder, name), "rb") as f:
                if data in f.read():
                    return True
    return False


@pytest.mark.parametrize("size", [100000, 20 << 20])
def test_conflicting_update_fails_and_keeps_both(s3d, mount, size):
    """P5: close says ESTALE, the bucket keeps the other's bytes, the staged ones stay here."""
    s3d.put("f", body(size, 1))
    m = mount(s3d)
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(b"MINE" * 1000)
    s3d.put("f", b"theirs")
    fails(errno.ESTALE, f.close)
    assert s3d.get("f") == b"theirs"
    assert staged_somewhere(m, b"MINE" * 1000), "the staged bytes are gone"
    m.kill()
    m.mount()
    assert staged_somewhere(m, b"MINE" * 1000), "the staged bytes did not survive a crash"
    assert s3d.get("f") == b"theirs"
    m.umount()
    assert s3d.get("f") == b"theirs" and s3d.uploads() == []


@pytest.mark.parametrize("way", ["rename", "unlink"])
def test_ways_out_of_a_conflict(s3d, mount, way):
    """P5: under another name the bytes go up, or they are given up; the name is the bucket's."""
    s3d.put("f", body(5000, 1))
    m = mount(s3d)
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(b"MINE" * 1000)
    s3d.put("f", b"theirs")
    fails(errno.ESTALE, f.close)
    assert os.getxattr(m.path("f"), "user.mastfs.state") == b"conflict"
    if way == "rename":
        os.rename(m.path("f"), m.path("mine"))
        assert read(m.path("mine"))[:4000] == b"MINE" * 1000 == s3d.get("mine")[:4000]
    else:
        os.unlink(m.path("f"))
    wait("theirs", lambda: os.path.exists(m.path("f")) and read(m.path("f")) == b"theirs")
    m.umount()
    assert s3d.files() == (["f", "mine"] if way == "rename" else ["f"])
    assert s3d.get("f") == b"theirs"


def test_conflict_with_a_deletion(s3d, mount):
    s3d.put("f", b"x" * 5000)
    m = mount(s3d)
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(b"MINE")
    s3d.delete("f")
    fails(errno.ESTALE, f.close)
    assert s3d.get("f") is None
    m.kill()


def test_conflicting_creation(s3d, mount):
    """Made here and there at once: the other was first."""
    m = mount(s3d)
    f = open(m.path("f"), "wb", buffering=0)
    f.write(b"mine")
    s3d.put("f", b"theirs")
    with pytest.raises(OSError) as info:
        f.close()
    assert info.value.errno in (errno.ESTALE, errno.EEXIST), info.value
    assert s3d.get("f") == b"theirs"
    m.kill()


@pytest.mark.parametrize("known", [False, True])
def test_rename_over_what_was_put_meanwhile(store, mount, known):
    """P5: listed before another client made, or replaced, what has the new name."""
    store.put("a", b"mine" * 1000)
    if known:
        store.put("b", b"seen")
    m = mount(store, ttl=60)
    assert sorted(os.listdir(m.path())) == ["a", "b"][:1 + known]
    assert os.path.exists(m.path("a")) and os.path.exists(m.path("b")) == known
    store.put("b", b"theirs")
    fails(errno.EBUSY, os.rename, m.path("a"), m.path("b"))
    assert store.get("b") == b"theirs" and store.get("a") == b"mine" * 1000
    assert read(m.path("a")) == b"mine" * 1000
    os.rename(m.path("a"), m.path("b"))
    assert read(m.path("b")) == b"mine" * 1000
    m.umount()
    assert store.files() == ["b"] and store.get("b") == b"mine" * 1000


def test_rename_that_must_not_replace(store, mount):
    store.put("a", b"mine")
    m = mount(store, ttl=60)
    assert os.path.exists(m.path("a")) and not os.path.exists(m.path("b"))
    store.put("b", b"theirs")
    noreplace = 1
    assert LIBC.renameat2(-100, os.fsencode(m.path("a")), -100, os.fsencode(m.path("b")),
                          noreplace) < 0
    assert ctypes.get_errno() == errno.EEXIST
    assert store.get("b") == b"theirs" and store.get("a") == b"mine"


def test_own_updates_never_conflict(store, mount):
    m = mount(store)
    for n in range(8):
        write(m.path("f"), b"%d" % n * 1000)
        with open(m.path("f"), "r+b") as f:
            f.write(b"x")
        with open(m.path("f"), "ab") as f:
            f.write(b"y")
    assert store.get("f") == b"x" + b"7" * 999 + b"y"


@pytest.mark.parametrize("how", ["write", "rename", "unlink", "truncate"])
def test_replaced_here_while_its_upload_is_in_flight(s3d, mount, how):
    """P3, P5: a commit whose answer we no longer waited for is ours, and no conflict."""
    m = mount(s3d, upload="background")
    s3d.server.rule("delay", method="PUT", key="(^|/)f$", secs=0.3)  # committed, answered later
    for n in range(4):
        if how == "unlink" and n:
            os.unlink(m.path("f"))
        if how == "truncate" and n:
            os.truncate(m.path("f"), 10)
        if how == "rename":
            write(m.path("f.part"), b"%d" % n * 1000)
            os.rename(m.path("f.part"), m.path("f"))
        else:
            write(m.path("f"), b"%d" % n * 1000)
        time.sleep(0.15)  # into the answer's delay
    s3d.server.clear()
    m.umount()
    assert s3d.get("f") == b"3" * 1000
    assert "bucket changed" not in m.log()


def test_two_mounts(s3d, mount):
    """V7: what one closes the other opens."""
    a, b = mount(s3d, ttl=0), mount(s3d, ttl=0)
    for n in range(5):
        write(a.path("f"), b"%d" % n * 3000)
        same(read(b.path("f")), b"%d" % n * 3000)
        write(b.path("f"), b"b%d" % n * 2000)
        same(read(a.path("f")), b"b%d" % n * 2000)


def test_P5_write_after_the_name_was_found_to_be_another_version(s3d, mount):
    """What could replace nothing any more is refused, not taken and lost."""
    s3d.put("f", b"0" * 5000)
    m = mount(s3d, ttl=0)
    with open(m.path("f"), "r+b", buffering=0) as f:
        assert f.read() == b"0" * 5000
        s3d.put("f", b"theirs")
        assert os.stat(m.path("f")).st_size == 6
        fails(errno.ESTALE, f.write, b"MINE")
    assert s3d.get("f") == b"theirs"


def test_P2_same_name_open_on_another_mount(s3d, mount):
    """Another mount's descriptor is no second one of this file: close is upload, and tells."""
    s3d.put("f", b"0" * 5000)
    a, b = mount(s3d, ttl=0), mount(s3d, ttl=0)
    with open(b.path("f"), "r+b", buffering=0):
        f = open(a.path("f"), "r+b", buffering=0)
        f.write(b"1")
        s3d.put("f", b"theirs")
        fails(errno.ESTALE, f.close)


def unreachable(s3d, how):
    if how == "reset":
        s3d.server.rule("reset")
    elif how == "refused":
        s3d.server.rule("status", status=403, code="AccessDenied")
    elif how == "gone":
        s3d.server.stop()
    else:
        s3d.server.rule("status", status=500)


@pytest.mark.parametrize("how", ["reset", "500", "refused", "gone"])
def test_unreachable_is_not_deleted(s3d, mount, how):
    """P10: what was there is there, or there is an error; never nothing, never shorter."""
    names = ["a", "b", "c"]
    for name in names:
        s3d.put("d/" + name, body(100000))
    m = mount(s3d, ttl=0, read_timeout="2s")
    assert sorted(os.listdir(m.path("d"))) == names
    same(read(m.path("d/a")), body(100000))
    unreachable(s3d, how)

    def look(call):
        try:
            return call()
        except OSError as err:
            assert err.errno in (errno.EIO, errno.ETIMEDOUT, errno.EACCES), err
            return None
    assert look(lambda: sorted(os.listdir(m.path("d")))) in (None, names)
    assert look(lambda: os.stat(m.path("d/b")).st_size) in (None, 100000)
    assert look(lambda: read(m.path("d/b"))) is None
    assert look(lambda: read(m.path("d/a"))) in (None, body(100000))
    if how != "gone":
        s3d.server.clear()
        assert sorted(os.listdir(m.path("d"))) == names
        same(read(m.path("d/b")), body(100000))


def test_directory_gone_elsewhere_is_gone_here(s3d, mount):
    s3d.put("d/a", b"1")
    m = mount(s3d, ttl=0)
    assert os.listdir(m.path("d")) == ["a"]
    s3d.delete("d/a")
    wait("it is seen", lambda: not os.path.exists(m.path("d/a")))
    assert lib.tree(m.point) in ({}, {"d": None})


@pytest.mark.stores("local", "gcsd")
def test_P1_rename_of_a_version_that_is_gone(store, mnt):
    """A store that renames by itself takes what is there; cached bytes are of another."""
    store.put("a.fits", b"old" * 1000)
    assert read(mnt.path("a.fits")) == b"old" * 1000
    store.put("a.fits", b"new" * 1000)
    os.rename(mnt.path("a.fits"), mnt.path("b.fits"))
    assert read(mnt.path("b.fits")) == b"new" * 1000
    assert store.get("b.fits") == b"new" * 1000 and store.get("a.fits") is None


def write_anew(m):
    write(m.path("f"), b"new")


def copy_anew(m):
    os.rename(m.path("g"), m.path("f"))


def write_and_unlink(m):
    with open(m.path("f"), "wb") as f:
        f.write(b"new")
        os.unlink(m.path("f"))


@pytest.mark.stores("local", "s3d", "minio")
@pytest.mark.parametrize("anew", (write_anew, copy_anew, write_and_unlink))
def test_unlinked_while_open_and_made_anew(store, mnt, anew):
    """Whatever takes its place in the bucket, who had it open reads on (P1)."""
    store.put("f", body(5 << 20))
    store.put("g", b"new")
    with open(mnt.path("f"), "rb", buffering=0) as f:
        os.unlink(mnt.path("f"))
        anew(mnt)
        if anew is not write_and_unlink:
            assert read(mnt.path("f")) == b"new"
        else:
            wait("the DELETE", lambda: "f" not in store.files())
        same(pread(f.fileno(), 6 << 20, 0), body(5 << 20))


@pytest.mark.stores("local", "s3d")
def test_no_directory_hides_a_file_of_others(store, mnt):
    """That came in the place of one which is being removed here."""
    store.put("f", b"old")
    os.unlink(mnt.path("f"))
    store.put("f", b"theirs")
    fails(errno.EEXIST, os.mkdir, mnt.path("f"))
    assert read(mnt.path("f")) == b"theirs" and store.files() == ["f"]


def unlink_it(m):
    os.unlink(m.path("f"))


def replace_it(m):
    os.rename(m.path("g"), m.path("f"))


def writes_when_told(fd):
    """A child that has inherited it; what tells it, and what waits for its errno."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        os.read(told, 1)
        try:
            os.pwrite(fd, b"late", 0)
            os.close(fd)
        except OSError as err:
            os._exit(err.errno)
        os._exit(0)
    os.close(told)
    return lambda: os.close(tell), lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.stores("local", "s3d")
@pytest.mark.parametrize("lose", (unlink_it, replace_it))
def test_a_lost_name_is_not_taken_back(store, mnt, lose):
    """It was uploaded when the parent closed it, and the child writes on."""
    store.put("g", b"other")
    fd = os.open(mnt.path("f"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"one")
    tell, ended = writes_when_told(fd)
    os.close(fd)
    assert store.get("f") == b"one"
    lose(mnt)
    tell()
    assert ended() == 0
    left = ["g"] if lose is unlink_it else ["f"]
    assert os.listdir(mnt.path()) == left and read(mnt.path(left[0])) == b"other"
    wait("the DELETE", lambda: store.files() == left)
    assert store.get(left[0]) == b"other"


def move_it(m):
    os.rename(m.path("f"), m.path("h"))


@pytest.mark.stores("s3d")
@pytest.mark.parametrize("lose", (unlink_it, replace_it, move_it))
def test_a_name_is_lost_while_a_mapping_is_staged(s3d, mount, lose):
    """The kernel writes a page back while the name changes; the whole file comes for it."""
    old = body(SIZE)
    new = b"new" + old[3:]
    s3d.put("f", old)
    s3d.put("g", b"other")
    m = mount(s3d)
    assert read(m.path("g")) == b"other"
    fd = os.open(m.path("f"), os.O_RDWR)
    with mmap.mmap(fd, 4096, mmap.MAP_SHARED) as view:
        s3d.server.rule("delay", method="GET", key="(^|/)f$", secs=1.5, count=100)
        view[:3] = b"new"
        assert LIBC.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(4096), 2) == 0
        time.sleep(.3)
        lose(m)
        s3d.server.clear()
        want = {unlink_it: {"g": b"other"}, replace_it: {"f": b"other"},
                move_it: {"g": b"other", "h": new}}[lose]
        time.sleep(2)
        assert sorted(os.listdir(m.path())) == sorted(want)
        same(os.pread(fd, 9, 0), new[:9])
    os.close(fd)
    for name, data in want.items():
        same(read(m.path(name)), data)
    wait("the DELETE", lambda: sorted(s3d.files()) == sorted(want))
    for name, data in want.items():
        same(s3d.get(name), data)


@pytest.mark.parametrize("known", [False, True])
def test_P5_rename_of_a_new_file_over_what_was_put_meanwhile(s3d, mount, known):
    """The upload takes longer than the ttl of what was believed of the new name, so that the
    kernel's second look would find what another client has put there."""
    if known:
        s3d.put("b", b"seen")
    m = mount(s3d, ttl="1s")
    write(m.path("b.part"), b"mine" * 1000)
    assert os.path.exists(m.path("b")) == known
    s3d.server.rule("delay", method="PUT", secs=2)
    s3d.put("b", b"theirs")
    fails(errno.EBUSY, os.rename, m.path("b.part"), m.path("b"))
    assert s3d.get("b") == b"theirs"
    assert read(m.path("b.part")) == b"mine" * 1000
    s3d.server.clear()
    assert read(m.path("b")) == b"theirs"
    os.rename(m.path("b.part"), m.path("b"))
    assert s3d.get("b") == b"mine" * 1000
