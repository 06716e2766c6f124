"""A directory gets another name: whole, resumable, and never with a file under neither."""
import errno
import os
import subprocess
import sys
import threading

import pytest

import lib
from lib import body, fails, read, same, wait, write

ALL = pytest.mark.stores("local", "s3d", "minio", "azurite", "fake_gcs", "gcsd")
FILES = {"a.fits": 70000, "b": 0, "sub/c.fits": 300000, "sub/deeper/d": 11}


def fill(store, top, names=FILES):
    for name, size in names.items():
        store.put(top + "/" + name, body(size))


def check(m, top, names=FILES):
    assert lib.tree(m.path(top)) == {
        **{os.path.dirname(n): None for n in names if "/" in n}, **names}
    for name, size in names.items():
        same(read(m.path(top, name)), body(size))


def settled(store, top, others=()):
    """The bucket has exactly this, once the old names are gone."""
    want = sorted([top + "/" + n for n in FILES] + list(others))
    wait("the old names are gone", lambda: store.files() == want)


@ALL
def test_everything_moves(store, mount):
    """P4; contents, times, empty directories; and back again at once."""
    fill(store, "old")
    m = mount(store)
    os.mkdir(m.path("old/empty"))
    os.utime(m.path("old/a.fits"), ns=(0, 1600000000123456789))
    os.rename(m.path("old"), m.path("new"))
    fails(errno.ENOENT, os.stat, m.path("old"))
    assert sorted(os.listdir(m.point)) == ["new"]
    os.rmdir(m.path("new/empty"))
    check(m, "new")
    os.rename(m.path("new"), m.path("old"))
    check(m, "old")
    os.mkdir(m.path("deep"))
    os.rename(m.path("old"), m.path("deep/new"))
    check(m, "deep/new")
    settled(store, "deep/new")
    m.umount()
    m.wipe()
    m.mount()
    assert os.stat(m.path("deep/new/a.fits")).st_mtime_ns == 1600000000123456789
    check(m, "deep/new")
    assert os.listdir(m.point) == ["deep"]


def test_what_it_asks(s3d, mount):
    """One listing; per object a HEAD (whose mtime is it?), a COPY with the HEAD that tells
    what others have set on the source and the one that compares what was made, and a DELETE;
    of the directory one look for a marker."""
    names = {"f%02d" % n: 1000 for n in range(12)}
    fill(s3d, "old", names)
    m = mount(s3d)
    os.stat(m.path("old"))
    fails(errno.ENOENT, os.stat, m.path("new"))
    s3d.server.mark()
    os.rename(m.path("old"), m.path("new"))
    check(m, "new", names)
    m.umount()
    puts = [r for r in s3d.server.new("PUT")]
    deletes = [r for r in s3d.server.new("DELETE")]
    assert len(puts) == 12 and not sum(r["received"] for r in puts), puts
    assert len(deletes) == 12, deletes
    lists = [r for r in s3d.server.new("GET") if not r["key"]]
    assert len(lists) <= 3, lists  # the second and third: new, as the test looks at it
    heads = s3d.server.new("HEAD")
    assert len(heads) <= 3 * 12 + 1, heads


def test_errors(s3d, mount):
    fill(s3d, "old")
    s3d.put("full/x", b"")
    s3d.put("file", b"")
    m = mount(s3d, rename_max=4)
    os.mkdir(m.path("empty"))
    fails(errno.ENOTEMPTY, os.rename, m.path("old"), m.path("full"))
    fails(errno.ENOTDIR, os.rename, m.path("old"), m.path("file"))
    fails(errno.EISDIR, os.rename, m.path("file"), m.path("old"))
    fails(errno.EINVAL, os.rename, m.path("old"), m.path("old/sub/x"))
    os.rename(m.path("old"), m.path("empty"))
    check(m, "empty")
    write(m.path("empty/one.part"), b"")
    s3d.server.mark()
    fails(errno.EXDEV, os.rename, m.path("empty"), m.path("again"))
    assert not s3d.server.new("PUT")
    os.rename(m.path("empty/one.part"), m.path("one.part"))
    settled(s3d, "empty", ["file", "full/x"])
    subprocess.check_call(["mv", m.path("empty"), m.path("again")])
    check(m, "again")


def test_more_than_rename_max_is_copied_by_mv(s3d, mount):
    fill(s3d, "old")
    m = mount(s3d, rename_max=3)
    fails(errno.EXDEV, os.rename, m.path("old"), m.path("new"))
    subprocess.check_call(["mv", m.path("old"), m.path("new")])
    check(m, "new")
    settled(s3d, "new")


@ALL
def test_what_is_written_and_read_goes_with_it(store, mount):
    """Open files below keep their bytes (P1), written ones are uploaded under the new name
    (P2), local ones stay here (P6)."""
    fill(store, "old")
    m = mount(store)
    reader = open(m.path("old/sub/c.fits"), "rb")
    start = reader.read(1000)
    changed = open(m.path("old/a.fits"), "r+b")
    changed.write(b"changed")
    changed.flush()
    fresh = open(m.path("old/sub/fresh"), "wb")
    fresh.write(b"one ")
    fresh.flush()
    write(m.path("old/x.part"), b"local")
    os.rename(m.path("old"), m.path("new"))
    same(start + reader.read(), body(300000))
    reader.close()
    fresh.write(b"two")
    fresh.close()
    changed.close()
    assert store.get("new/sub/fresh") == b"one two"
    want = b"changed" + body(70000)[7:]
    same(store.get("new/a.fits"), want)
    same(read(m.path("new/a.fits")), want)
    assert read(m.path("new/x.part")) == b"local"
    settled(store, "new", ["new/sub/fresh"])
    os.rename(m.path("new/x.part"), m.path("new/x"))
    assert store.get("new/x") == b"local"


def test_a_mapped_file_goes_with_it(s3d, mount):
    import mmap
    size = 3 << 20
    s3d.put("old/f", body(size))
    m = mount(s3d)
    with open(m.path("old/f"), "rb") as f, \
            mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as view:
        same(view[:4096], body(size)[:4096])
        os.rename(m.path("old"), m.path("new"))
        wait("the old name is gone", lambda: s3d.files() == ["new/f"])
        same(view[:], body(size))


def test_uploads_that_wait_follow(s3d, mount):
    """upload=background with the store away: each comes under its new name, once."""
    m = mount(s3d, upload="background")
    s3d.server.rule("status", method="PUT", key="old/w", status=503, count=1000000)
    os.mkdir(m.path("old"))
    for n in range(5):
        write(m.path("old/w%d" % n), b"%d" % n)
    os.rename(m.path("old"), m.path("new"))
    s3d.server.clear()
    wait("they are there", lambda: s3d.files() == ["new/w%d" % n for n in range(5)], 180)
    assert [read(m.path("new/w%d" % n)) for n in range(5)] == [b"%d" % n for n in range(5)]


def test_others_always_find_each_file(s3d, mount):
    """dir_move (2): who looks at both names finds it under one of them at least."""
    names = {"f%02d" % n: 100 for n in range(40)}
    fill(s3d, "old", names)
    m = mount(s3d)
    s3d.server.rule("delay", method="PUT", secs=0.2, count=1000000)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            keys = set(s3d.keys())  # one listing: one moment
            seen.append([n for n in names if not {lib.PREFIX + "old/" + n,
                                                  lib.PREFIX + "new/" + n} & keys])
    thread = threading.Thread(target=look)
    thread.start()
    try:
        os.rename(m.path("old"), m.path("new"))
        wait("the old names are gone",
             lambda: s3d.files() == sorted("new/" + n for n in names))
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 2 and not any(seen), [s for s in seen if s][:3]


def test_a_source_that_another_changed_stays(s3d, mount):
    """dir_move (3): what came after the copy is kept, and said."""
    fill(s3d, "old")
    m = mount(s3d)
    s3d.server.rule("delay", op="copy", key="new/a.fits", secs=1.0)
    mover = threading.Thread(target=os.rename, args=(m.path("old"), m.path("new")))
    mover.start()
    wait("the copies are there", lambda: s3d.get("new/a.fits") is not None)
    s3d.put("old/a.fits", b"theirs")
    mover.join()
    settled(s3d, "new", ["old/a.fits"])
    assert s3d.get("old/a.fits") == b"theirs"
    check(m, "new")
    wait("it is said", lambda: "old/a.fits was removed here while" in m.log())


def test_a_failed_copy_undoes_all(s3d, mount):
    """dir_move (5)."""
    fill(s3d, "old")
    m = mount(s3d)
    s3d.server.rule("status", method="PUT", key="new/sub/c.fits", status=403,
                    code="AccessDenied", count=1000000)
    err = fails(errno.EACCES, os.rename, m.path("old"), m.path("new"))
    assert err
    check(m, "old")
    fails(errno.ENOENT, os.stat, m.path("new"))
    settled(s3d, "old")
    s3d.server.clear()
    os.rename(m.path("old"), m.path("new"))
    check(m, "new")
    settled(s3d, "new")


def rename_in_the_background(m):
    return subprocess.Popen([sys.executable, "-c", "import os, sys; os.rename(*sys.argv[1:])",
                             m.path("old"), m.path("new")], stderr=subprocess.DEVNULL)


def one_whole(m, store, names):
    """Both the mount and the bucket have all of it, once."""
    tops = os.listdir(m.point)
    assert tops in (["old"], ["new"]), tops
    check(m, tops[0], names)
    want = sorted("%s/%s" % (tops[0], n) for n in names)
    wait("one of both", lambda: store.files() == want, 60)
    return tops[0]


@pytest.mark.parametrize("after", [0, 1, 5, 15, 19, 20, 21, 30, 40])
def test_kill_in_the_middle(s3d, mount, after):
    """dir_move (1): killed after so many writes were asked for, the bucket away for a
    while after that; what the next mount makes of it is one of both, whole."""
    names = {"f%02d" % n: 100 for n in range(20)}
    fill(s3d, "old", names)
    m = mount(s3d)
    s3d.server.rule("delay", method="PUT", secs=0.1, count=1000000)
    s3d.server.rule("delay", method="DELETE", secs=0.03, count=1000000)
    s3d.server.mark()
    mover = rename_in_the_background(m)
    wait("that many writes", lambda: len([
        r for r in s3d.server.new() if r["method"] in ("PUT", "DELETE")]) >= after)
    m.kill()
    mover.wait()
    s3d.server.clear()
    m.mount()
    check(m, "old" if os.path.exists(m.path("old")) else "new", names)
    top = one_whole(m, s3d, names)
    assert top == ("new" if after > 20 else "old") or 19 <= after <= 20, top
    m.umount()
    m.wipe()
    m.mount()
    one_whole(m, s3d, names)


def test_killed_and_the_bucket_is_away(s3d, mount):
    """P10: nothing is lost, and it goes on when it is back."""
    names = {"f%02d" % n: 100 for n in range(10)}
    fill(s3d, "old", names)
    m = mount(s3d, ttl="1s")
    s3d.server.rule("status", method="DELETE", key="old/", status=503, count=1000000)
    s3d.server.mark()
    mover = rename_in_the_background(m)
    wait("it is decided", lambda: s3d.server.new("DELETE"))
    m.kill()
    mover.wait()
    m.mount()
    check(m, "new", names)
    assert os.listdir(m.point) == ["new"]
    assert set(s3d.files()) == {t + n for t in ("old/", "new/") for n in names}
    s3d.server.clear()
    wait("it is over", lambda: s3d.files() == sorted("new/" + n for n in names), 90)


def test_changes_below_wait_and_follow(s3d, mount):
    """Who makes and removes files meanwhile does so in the directory, whatever its name."""
    fill(s3d, "old", {"f%02d" % n: 100 for n in range(20)})
    m = mount(s3d)
    fd = os.open(m.path("old"), os.O_RDONLY)
    s3d.server.rule("delay", method="PUT", key="new/", secs=0.05, count=1000000)
    s3d.server.mark()
    mover = rename_in_the_background(m)
    wait("it copies", lambda: s3d.server.new("PUT"))
    with os.fdopen(os.open("made", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "wb") as f:
        f.write(b"made")
    os.unlink("f03", dir_fd=fd)
    os.rename("f04", "g04", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    assert mover.wait() == 0
    want = sorted(["made", "g04"] + ["f%02d" % n for n in range(20) if n not in (3, 4)])
    assert sorted(os.listdir(m.path("new"))) == want
    assert read(m.path("new/made")) == b"made"
    wait("the bucket has it", lambda: s3d.files() == ["new/" + n for n in want])
    assert os.listdir(m.point) == ["new"]


def test_interrupted(s3d, mount):
    """Ctrl-C: nothing has another name."""
    names = {"f%02d" % n: 100 for n in range(20)}
    fill(s3d, "old", names)
    m = mount(s3d)
    s3d.server.rule("delay", method="PUT", secs=0.3, count=1000000)
    s3d.server.mark()
    mover = rename_in_the_background(m)
    wait("it copies", lambda: s3d.server.new("PUT"))
    mover.terminate()
    mover.wait()
    s3d.server.clear()
    check(m, "old", names)
    wait("undone", lambda: s3d.files() == sorted("old/" + n for n in names), 60)


def test_local_directories(s3d, mount):
    """P6: below .download_state nothing is asked of the bucket."""
    m = mount(s3d)
    os.makedirs(m.path(".download_state/a/b"))
    write(m.path(".download_state/a/b/f"), b"x")
    s3d.server.mark()
    os.rename(m.path(".download_state/a"), m.path(".download_state/c"))
    assert read(m.path(".download_state/c/b/f")) == b"x"
    assert not s3d.server.new()
    fails(errno.EXDEV, os.rename, m.path(".download_state/c"), m.path("plain"))
    m.kill()
    m.mount()
    assert read(m.path(".download_state/c/b/f")) == b"x"
    assert os.listdir(m.path(".download_state")) == ["c"]
