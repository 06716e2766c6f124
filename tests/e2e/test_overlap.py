"""Parts go up while their file grows, and what is finished is the file (P2, P4, P6)."""
import os
import sqlite3
import subprocess

import pytest

import lib
from lib import body, read, same, wait, write

MIB = 1 << 20
PART = 8 * MIB
STEP = 5 * MIB  # as the application appends
EVERY = pytest.mark.stores("s3d", "minio", "azurite", "fake_gcs", "gcsd")


def parts(s3d):
    """Parts that the store has answered."""
    return [r for r in s3d.server.log() if "partNumber" in r["query"] and r["t1"]
            and "probe" not in r["key"]]


def sent(s3d, *methods):
    return [r for r in s3d.server.log() if r["method"] in methods
            and not (r["agent"] or "").startswith("Boto")]


def append(path, size, start=0):
    data = body(size)
    with open(path, "ab", buffering=0) as f:
        for at in range(start, size, STEP):
            f.write(data[at:at + STEP])
    return data


def grown(s3d, path, size, n):
    """A file of which n parts are there before anybody closes or renames it."""
    data = append(path, size)
    wait("%d parts" % n, lambda: len(parts(s3d)) >= n)
    return data


@pytest.mark.short
def test_download_goes_up_under_the_name_that_it_will_have(s3d, mount):
    """0 COPY, no byte twice, and rename sends the tail, completes and looks."""
    m = mount(s3d)
    os.mkdir(m.path("d"))
    data = grown(s3d, m.path("d/f.fits.part"), 48 * MIB + 7, 6)
    assert [u for u in s3d.uploads() if u.endswith("d/f.fits")], s3d.uploads()
    assert not [n for n in s3d.files() if n.startswith("d/f")]
    s3d.server.mark()
    os.rename(m.path("d/f.fits.part"), m.path("d/f.fits"))
    asked = [r["method"] for r in s3d.server.new()]
    assert sorted(asked) == ["HEAD", "POST", "PUT"], asked
    same(s3d.get("d/f.fits"), data)
    assert s3d.files() == ["d/f.fits"]
    assert s3d.uploads() == []
    puts = sent(s3d, "PUT")
    assert not [r for r in puts if r["key"].endswith(".part")]
    assert len(parts(s3d)) == 7
    same(read(m.path("d/f.fits")), data)


def test_ordinary_name_goes_up_too(s3d, mount):
    m = mount(s3d)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(41 * MIB))
        wait("five parts", lambda: len(parts(s3d)) >= 5)
        assert s3d.files() == []
        s3d.server.mark()
    asked = sorted(r["method"] for r in s3d.server.new())
    assert asked == ["HEAD", "POST", "PUT"], asked
    same(s3d.get("f"), body(41 * MIB))


def test_sixteen_parts_are_on_their_way_at_once(s3d, mount):
    """They share the link and end together; each wave costs a round trip."""
    m = mount(s3d)
    s3d.server.rule("delay", op="part", key="(^|/)f$", secs=4 * lib.SLOW)
    append(m.path("f.part"), 17 * PART)
    os.rename(m.path("f.part"), m.path("f"))
    wait("the server to note their ends", lambda: len(parts(s3d)) == 17)
    first_end = min(r["t1"] for r in parts(s3d))
    assert sum(r["t0"] < first_end for r in parts(s3d)) == 16
    same(s3d.get("f"), body(17 * PART))


@EVERY
def test_every_store(store, mount):
    m = mount(store)
    write(m.path("f"), b"old")
    data = append(m.path("f.part"), 37 * MIB + 1)
    os.rename(m.path("f.part"), m.path("f"))
    same(store.get("f"), data)
    assert store.files() == ["f"]
    assert store.uploads() == []
    m.remount(wipe=True)
    same(read(m.path("f")), data)


@EVERY
def test_header_written_last_is_in_the_object(store, mount):
    m = mount(store)
    data = bytearray(body(40 * MIB))
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(data)
        os.fsync(f.fileno())
        f.seek(100)
        f.write(b"NAXIS3")
    data[100:106] = b"NAXIS3"
    same(store.get("f"), bytes(data))
    assert store.uploads() == []


def test_part_that_is_written_again_is_sent_once_more(s3d, mount):
    m = mount(s3d)
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(40 * MIB))
    wait("five parts", lambda: len(parts(s3d)) == 5)
    for n in range(20):  # not with each write
        f.seek(n * 1000)
        f.write(b"header %d" % n)
    assert len(parts(s3d)) == 5
    want = read(m.path("f"))
    f.close()
    assert len(parts(s3d)) == 6
    same(s3d.get("f"), want)


def test_blocks_in_any_order(s3d, mount):
    """As s3transfer writes: each part's pieces as they arrive."""
    m = mount(s3d)
    data, step = body(48 * MIB), 256 << 10
    order = [at for first in range(0, step * 4, step)
             for at in range(first, len(data), step * 4)]
    with open(m.path("f.fits.0a1B2c3D"), "wb", buffering=0) as f:
        for at in order[::-1]:
            f.seek(at)
            f.write(data[at:at + step])
    wait("parts", lambda: len(parts(s3d)) >= 5)
    os.rename(m.path("f.fits.0a1B2c3D"), m.path("f.fits"))
    same(s3d.get("f.fits"), data)
    assert len(parts(s3d)) == 6


def test_hole_is_not_sent_before_the_end(s3d, mount):
    m = mount(s3d)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.truncate(40 * MIB)
        f.seek(39 * MIB)
        f.write(b"end")
        assert parts(s3d) == []
    same(s3d.get("f"), bytes(39 * MIB) + b"end" + bytes(MIB - 3))


@pytest.mark.parametrize("to", ["other", "d/f", "x.part"])
def test_renamed_to_another_name(s3d, mount, to):
    """What went up for the name that was expected is aborted."""
    m = mount(s3d)
    os.mkdir(m.path("d"))
    data = grown(s3d, m.path("f.part"), 40 * MIB, 3)
    os.rename(m.path("f.part"), m.path(to))
    if to == "x.part":
        assert s3d.files() == []
        os.rename(m.path(to), m.path("x"))
        to = "x"
    same(s3d.get(to), data)
    wait("the abort", lambda: s3d.uploads() == [])
    assert s3d.files() == [to]


def test_removed_while_parts_are_there(s3d, mount):
    m = mount(s3d)
    grown(s3d, m.path("f.part"), 40 * MIB, 3)
    os.unlink(m.path("f.part"))
    wait("the abort", lambda: s3d.uploads() == [])
    assert s3d.files() == []


@pytest.mark.parametrize("size", [0, 5 * MIB, 17 * MIB + 3])
def test_cut_short_in_the_end(s3d, mount, size):
    m = mount(s3d)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(40 * MIB))
        wait("parts", lambda: len(parts(s3d)) >= 4)
        f.truncate(size)
    same(s3d.get("f"), body(40 * MIB)[:size])
    wait("no upload", lambda: s3d.uploads() == [])


def test_cut_and_written_again(s3d, mount):
    m = mount(s3d)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(40 * MIB))
        wait("parts", lambda: len(parts(s3d)) >= 4)
        f.truncate(3 * MIB)
        f.seek(3 * MIB)
        f.write(body(30 * MIB, 2))
    same(s3d.get("f"), body(40 * MIB)[:3 * MIB] + body(30 * MIB, 2))


def test_killed_download_goes_on_where_it_was(s3d, mount):
    """P3: the next mount has the file, and what was sent is not sent again."""
    m = mount(s3d)
    size = 64 * MIB + 5
    data = append(m.path("f.part"), size)[:40 * MIB]
    os.truncate(m.path("f.part"), 40 * MIB)
    wait("the rows of those that stay", lambda: rows(m) == 5)
    m.kill()
    m.mount()
    same(read(m.path("f.part")), data)
    append(m.path("f.part"), size, start=40 * MIB)
    before = len(parts(s3d))
    os.rename(m.path("f.part"), m.path("f"))
    same(s3d.get("f"), body(size))
    assert s3d.uploads() == []
    begun = [r for r in s3d.server.log() if r["query"].startswith("uploads")
             and r["method"] == "POST" and "probe" not in r["key"]]
    assert len(begun) == 1
    # 9 parts; up to 3 of the first mount were of bytes that were cut off
    assert before <= 12 and len(parts(s3d)) <= 12


def rows(m):
    """Of the first five parts those that the journal knows."""
    try:
        return m.journal("SELECT count(*) FROM part WHERE number <= 5")[0][0]
    except sqlite3.DatabaseError:  # caught in the middle of a change
        return 0


def test_killed_and_not_synced_leaves_nothing(s3d, mount):
    """An ordinary name, neither closed nor synced: nothing was promised."""
    m = mount(s3d)
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(40 * MIB))
    wait("parts", lambda: len(parts(s3d)) >= 3)
    m.kill()
    try:
        f.close()
    except OSError:
        pass
    m.mount()
    wait("the abort", lambda: s3d.uploads() == [])
    assert os.listdir(m.point) == []


@pytest.mark.stores("s3d", "minio", "azurite", "fake_gcs")
def test_time_set_by_hand_is_the_objects(store, mount):
    """rsync: the parts are up, then comes the time, then the name."""
    m = mount(store)
    with open(m.path(".f.fits.aB3dE6"), "wb", buffering=0) as f:
        f.write(body(40 * MIB))
        os.utime(f.fileno(), ns=(0, 1234567890123000000))
    os.rename(m.path(".f.fits.aB3dE6"), m.path("f.fits"))
    same(store.get("f.fits"), body(40 * MIB))
    assert os.stat(m.path("f.fits")).st_mtime_ns == 1234567890123000000
    m.remount(wipe=True)
    os.stat(m.path("f.fits"))
    read(m.path("f.fits"))
    m.opts["ttl"] = "0"
    m.remount()
    assert os.stat(m.path("f.fits")).st_mtime_ns == 1234567890123000000


def test_rsync_sends_each_byte_once(s3d, mount, folder):
    source = os.path.join(folder, "source")
    os.mkdir(source)
    write(os.path.join(source, "f.fits"), body(40 * MIB))
    os.utime(os.path.join(source, "f.fits"), (1e9, 1e9))
    m = mount(s3d)
    subprocess.run(["rsync", "-t", os.path.join(source, "f.fits"), m.point], check=True)
    same(s3d.get("f.fits"), body(40 * MIB))
    assert len(parts(s3d)) == 5
    assert os.stat(m.path("f.fits")).st_mtime == 1e9
    assert s3d.uploads() == []


def test_conflict_keeps_the_bytes_and_leaves_no_upload(s3d, mount):
    """P5."""
    s3d.put("f", b"old")
    m = mount(s3d)
    assert read(m.path("f")) == b"old"
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(40 * MIB))
    wait("parts", lambda: len(parts(s3d)) >= 3)
    s3d.put("f", b"theirs")
    lib.fails(lib.errno.ESTALE, f.close)
    assert s3d.get("f") == b"theirs"
    same(read(m.path("f")), body(40 * MIB))
    wait("the abort", lambda: s3d.uploads() == [])


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_answer_to_a_beginning_leaves_no_upload(s3d, mount, lost):
    """What is repeated, by libcurl on a fresh connection (1) and then by us (2), begins one
    more each time."""
    m = mount(s3d)
    s3d.server.rule("drop_reply", op="begin", count=lost)
    data = body(24 * MIB)
    write(m.path("f"), data)
    same(s3d.get("f"), data)
    begun = [r for r in sent(s3d, "POST") if r["query"].startswith("uploads")
             and "probe" not in r["key"]]
    assert len(begun) == lost + 1
    m.umount()
    assert s3d.uploads() == []


def test_store_that_forgot_the_parts(s3d, mount):
    """A rule of the bucket removed the unfinished upload: sent again, and no error."""
    m = mount(s3d)
    data = grown(s3d, m.path("f.part"), 40 * MIB, 5)
    for up in s3d.server.uploads():
        s3d.s3.abort_multipart_upload(Bucket="test", Key=up["key"], UploadId=up["id"])
    os.rename(m.path("f.part"), m.path("f"))
    same(s3d.get("f"), data)
    assert s3d.uploads() == []


@pytest.mark.parametrize("act", [dict(kind="status", status=403), dict(kind="status", status=500)])
def test_parts_that_are_refused_early_fail_nobody(s3d, mount, act):
    m = mount(s3d, read_timeout="3s")
    s3d.server.rule(query="partNumber|uploads", **act)
    data = append(m.path("f.part"), 40 * MIB)
    wait("a try", lambda: [r for r in s3d.server.log() if "uploads" in r["query"]])
    s3d.server.clear()
    os.rename(m.path("f.part"), m.path("f"))
    same(s3d.get("f"), data)
    assert s3d.uploads() == []
