"""kill -9 at any moment: what was acknowledged is there after the next mount (P3, P4)."""
import errno
import glob
import os
import subprocess
import sys
import time

import pytest

import lib
from killing import KillLoop
from lib import body, fails, read, same, wait, write
from oracle import Broken

KILLS = int(os.environ.get("MASTFS_KILLS", 10 if lib.SANITIZER
                           else 100 if os.environ.get("CI") else 20))
COPIES = {  # of one name to another, by the store
    "rename": "os.rename(*sys.argv[1:])",
    "copy": "a, b = map(open, sys.argv[1:], 'rw'); os.copy_file_range(a.fileno(), b.fileno(), 3)"}


def kill_often(folder, mount, store, upload, kills, commits=None):
    """D9: each time everything acknowledged is there, and nothing is half there."""
    seed = int(os.environ.get("MASTFS_SEED", time.time_ns() % 1000000))
    print("again: MASTFS_SEED=%d" % seed)
    place = os.path.join(folder, "kills")
    os.mkdir(place)
    m = mount(store, start=False, **KillLoop.options(upload))
    loop = KillLoop(place, store, m, seed, wipe_every=10, commits=commits)
    try:
        loop.run(kills)
    except Broken as err:
        raise AssertionError("%s\n%s" % (loop.summary(err), err)) from None
    print(loop.summary())


@pytest.mark.parametrize("upload", ["close", "background"])
def test_random_kills(folder, mount, upload):
    commits = os.path.join(folder, "commits")
    store = lib.S3dStore(folder, "--commits", commits)
    try:
        kill_often(folder, mount, store, upload, KILLS, commits)
    finally:
        store.stop()


@pytest.mark.stores("azurite", "fake_gcs")
def test_random_kills_over_other_stores(folder, mount, store):
    """Less often: what is sent and found again is their own, what is promised is not."""
    kill_often(folder, mount, store, "background", min(KILLS, 15))


@pytest.mark.short
def test_partial_download_keeps_its_size(store, mount):
    """The resume trusts getsize(.part)."""
    m = mount(store)
    data = body(3 << 20)
    with open(m.path("f.fits.part"), "wb", buffering=0) as f:
        f.write(data[:1234567])
        m.kill()
        try:
            f.close()
        except OSError:
            pass
    m.mount()
    assert os.path.getsize(m.path("f.fits.part")) == 1234567
    with open(m.path("f.fits.part"), "ab") as f:
        f.write(data[1234567:])
    os.rename(m.path("f.fits.part"), m.path("f.fits"))
    m.umount()
    assert store.files() == ["f.fits"]
    same(store.get("f.fits"), data)


@pytest.mark.parametrize("size", [100000, 30 << 20])
def test_background_uploads_finish_after_a_kill(s3d, mount, size):
    """P2, P3: close said 0, the bucket was down, the daemon died."""
    m = mount(s3d, upload="background")
    s3d.server.rule("status", method="PUT", status=503)
    write(m.path("f"), body(size))
    assert s3d.files() == []
    m.kill()
    s3d.server.clear()
    m.mount()
    same(read(m.path("f")), body(size))
    wait("the upload", lambda: s3d.files() == ["f"])
    same(s3d.get("f"), body(size))
    assert s3d.uploads() == []


def test_multipart_in_flight_is_resumed_or_aborted(s3d, mount):
    """No unfinished upload is left, and what was sent is not all sent again."""
    m = mount(s3d, upload="background")
    s3d.server.rule("delay", method="PUT", query="partNumber", secs=0.2)
    write(m.path("f"), body(50 << 20))
    wait("two parts", lambda: len([r for r in s3d.server.log() if "partNumber" in r["query"]
                                   and r["t1"]]) >= 2)
    m.kill()
    m.mount()
    m.umount()
    same(s3d.get("f"), body(50 << 20))
    assert s3d.uploads() == []
    assert len([c for c in s3d.server.commits() if c["key"].endswith("/f")]) == 1


def test_unfinished_file_leaves_the_old_object(s3d, mount):
    """D7: O_TRUNC, some writes, no close."""
    s3d.put("f", body(1 << 20, 1))
    m = mount(s3d)
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(20 << 20, 2))
    m.kill()
    try:
        f.close()
    except OSError:
        pass
    same(s3d.get("f"), body(1 << 20, 1))
    m.mount()
    m.umount()
    got = s3d.get("f")
    assert got in (body(1 << 20, 1), body(20 << 20, 2)), "a part of a file: %d" % len(got)
    assert s3d.uploads() == []


def test_committed_but_not_journaled(s3d, mount):
    """D8: the commit's answer was lost with the daemon; one version, no conflict."""
    m = mount(s3d, upload="background")
    s3d.server.rule("delay", method="PUT", key="(^|/)f$", secs=5, count=1)
    write(m.path("f"), b"x" * 5000)
    wait("the commit", lambda: s3d.files() == ["f"])
    m.kill()
    m.mount()
    end = time.monotonic() + 2
    while time.monotonic() < end:  # while recovery finds out that it was our own
        assert read(m.path("f")) == b"x" * 5000
    write(m.path("f"), b"y" * 5000)
    m.umount()
    assert s3d.get("f") == b"y" * 5000


def test_unlink_and_rename_survive(s3d, mount):
    s3d.put("gone", b"1")
    s3d.put("old", b"2")
    m = mount(s3d, upload="background")
    os.unlink(m.path("gone"))
    os.rename(m.path("old"), m.path("new"))
    write(m.path(".a.part"), b"3")
    os.rename(m.path(".a.part"), m.path("a"))
    m.kill()
    m.mount()
    assert sorted(os.listdir(m.point)) == ["a", "new"]
    m.umount()
    assert s3d.files() == ["a", "new"]
    assert (s3d.get("new"), s3d.get("a")) == (b"2", b"3")


@pytest.mark.parametrize("old", [".f.part", "e"])
def test_renamed_while_it_is_written(s3d, mount, old):
    """P3: neither name loses bytes that were renamed before anybody closed them."""
    s3d.put("f", b"old")
    m = mount(s3d)
    f = open(m.path(old), "wb", buffering=0)
    f.write(body(100000))
    os.rename(m.path(old), m.path("f"))
    assert s3d.get("f") == b"old"
    m.kill()
    fails(errno.ENOTCONN, f.close)
    m.mount()
    same(read(m.path("f")), body(100000))
    m.umount()
    assert s3d.files() == ["f"]
    same(s3d.get("f"), body(100000))


@pytest.mark.parametrize("how", ["rename", "copy"])
def test_copy_that_was_cut_off_is_seen(s3d, mount, how):
    """K1, P5: killed after the store's copy, the next mount does not believe its old listing."""
    s3d.put("f", b"old")
    s3d.put("g", b"new")
    m = mount(s3d)
    assert sorted(os.listdir(m.point)) == ["f", "g"]
    m.remount()  # the listing is kept
    s3d.server.rule("delay", method="PUT", key="(^|/)f$", secs=5, count=1)
    mover = subprocess.Popen([sys.executable, "-c", "import os, sys; " + COPIES[how],
                              m.path("g"), m.path("f")], stderr=subprocess.DEVNULL)
    wait("the copy", lambda: s3d.get("f") == b"new")
    m.kill()
    mover.wait()
    m.mount()
    assert read(m.path("f")) == b"new"
    os.unlink(m.path("f"))
    m.umount()
    assert s3d.files() == ["g"]


@pytest.mark.parametrize("how", ["rename", "copy"])
def test_no_listing_is_kept_while_a_copy_is_on_its_way(s3d, mount, how):
    """K1, P5: one that came before the copy, and would be kept while the store copies."""
    s3d.put("d/f", b"old")
    s3d.put("d/g", b"new")
    m = mount(s3d)
    s3d.server.rule("delay", method="PUT", key="(^|/)f$", secs=8, count=1)
    assert sorted(os.listdir(m.path("d"))) == ["f", "g"]
    mover = subprocess.Popen([sys.executable, "-c", "import os, sys; " + COPIES[how],
                              m.path("d/g"), m.path("d/f")], stderr=subprocess.DEVNULL)
    wait("the copy", lambda: s3d.get("d/f") == b"new")
    time.sleep(2)  # a second after it came a listing is kept
    m.kill()
    mover.wait()
    m.mount()
    assert read(m.path("d/f")) == b"new"
    write(m.path("d/f"), b"next")
    m.umount()
    assert s3d.get("d/f") == b"next"
    assert "bucket changed" not in m.log()


def test_copy_over_what_waits_for_its_upload(s3d, mount):
    """P3: closed, not yet in the bucket, and the copy that was to replace it not closed."""
    s3d.put("g", body(100000, 2))
    m = mount(s3d, upload="background")
    s3d.server.rule("status", op="put", key="/f$", status=503)
    s3d.server.rule("status", op="copy", status=501, code="NotImplemented")
    write(m.path("f"), body(5000, 1))
    source, fd = os.open(m.path("g"), os.O_RDONLY), os.open(m.path("f"), os.O_WRONLY | os.O_TRUNC)
    assert os.copy_file_range(source, fd, 100000) == 100000
    m.kill()
    os.close(source)
    with pytest.raises(OSError):
        os.close(fd)
    s3d.server.clear()
    m.mount()
    same(read(m.path("f")), body(5000, 1))
    m.umount()
    same(s3d.get("f"), body(5000, 1))


@pytest.mark.parametrize("kills", [1, 2, 3])
@pytest.mark.parametrize("how", ["write", "rename", "unlink and rename"])
def test_own_commit_is_known_again_after_a_kill(s3d, mount, how, kills):
    """P3, P5: killed after the commit and before its answer; the next write is no conflict."""
    m = mount(s3d)
    write(m.path("f"), b"old")
    write(m.path("f.part"), b"x" * 5000)
    s3d.server.rule("delay", method="PUT", key="(^|/)f$", secs=5, count=1)
    call = {"write": 'open(f, "wb").write(b"x" * 5000)', "rename": "os.rename(f + '.part', f)",
            "unlink and rename": "os.unlink(f); os.rename(f + '.part', f)"}[how]
    writer = subprocess.Popen([sys.executable, "-c", "import os, sys; f = sys.argv[1]; " + call,
                               m.path("f")], stderr=subprocess.DEVNULL)
    wait("the commit", lambda: s3d.get("f") == b"x" * 5000)
    s3d.server.rule("delay", key="(^|/)f$", secs=0.2)  # the next mount has no time to look
    for _ in range(kills):
        m.kill()
        writer.wait()
        m.mount()
        assert read(m.path("f")) in (b"old", b"x" * 5000)
    if how == "unlink and rename":
        os.unlink(m.path("f"))
    write(m.path("f"), b"next")
    m.umount()
    assert s3d.get("f") == b"next"
    assert "bucket changed" not in m.log()


def test_recovered_file_is_there_all_the_time(s3d, mount):
    """P3: before, while and after the next mount uploads it."""
    m = mount(s3d, upload="background")
    for n in range(8):
        name = "f%d" % n
        assert not os.path.exists(m.path(name))  # the mount knows that it is not there
        s3d.server.rule("status", method="PUT", key="/f", status=503)
        write(m.path(name + ".part"), body(100000, n))
        os.rename(m.path(name + ".part"), m.path(name))
        m.kill()
        s3d.server.clear()
        s3d.server.rule("delay", method="PUT", key="/f", secs=0.02 * n)
        m.mount()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            same(read(m.path(name)), body(100000, n))


def test_rename_of_what_may_only_be_in_the_bucket(s3d, mount):
    """P2: after a loss of power a row may say that a file is to be uploaded that was, and that
    the disk has no more.  Until the bucket has told, its name does not change: what was sent
    has the old one, and would be removed there."""
    m = mount(s3d, read_timeout="2s")
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(5000))
        s3d.server.rule("drop_reply", method="PUT", key="f$")
        s3d.server.rule("status", method="HEAD", key="f$", status=503)
        with pytest.raises(OSError):
            f.close()
    m.kill()
    s3d.server.clear()
    assert s3d.get("f") == body(5000)
    path, = glob.glob(os.path.join(m.cache, "*", "staged", "*"))
    os.unlink(path)
    s3d.server.rule("delay", method="HEAD", key="f$", secs=3)
    m.opts["read_timeout"] = "60s"
    m.mount()
    fails(errno.EBUSY, os.rename, m.path("f"), m.path("g"))
    s3d.server.clear()
    wait("the bucket's answer", lambda: not m.journal("SELECT 1 FROM staged"))
    assert read(m.path("f")) == body(5000) == s3d.get("f")
    os.rename(m.path("f"), m.path("g"))
    assert s3d.files() == ["g"] and read(m.path("g")) == body(5000)


def test_move_that_was_cut_off_is_seen(gcsd, mount):
    """K1: killed after the store's own rename, the next mount does not believe its kept
    listing."""
    gcsd.put("f", b"old")
    gcsd.put("g", b"new!")
    m = mount(gcsd)
    assert sorted(os.listdir(m.point)) == ["f", "g"]
    m.remount()
    gcsd.server.rule("delay", method="POST", key="/g$", secs=5, count=1)
    mover = subprocess.Popen([sys.executable, "-c", "import os, sys; " + COPIES["rename"],
                              m.path("g"), m.path("f")],
                             stderr=subprocess.DEVNULL)
    wait("the move", lambda: gcsd.get("f") == b"new!")
    m.kill()
    mover.wait()
    m.mount()
    assert read(m.path("f")) == b"new!"
    assert os.listdir(m.point) == ["f"]
