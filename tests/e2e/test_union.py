"""A second source under the bucket: one tree, own names first, nothing written below."""
import errno
import json
import os
import subprocess
import sys
import time
import uuid

import pytest

import lib
from lib import body, fails, read, same, wait, write

OBS = "jw02733-o001_t001_nircam_clear-f200w"  # the application's, in replay.py
REPLAY = os.path.join(lib.TESTS, "tools", "replay.py")
PUBLIC = "public/"  # below it in the scripted server's one bucket
every_store = pytest.mark.stores("local", "s3d", "minio")


class Under:
    """The second source: where it is, and what is in it."""

    def __init__(self, store, folder):
        self.store = store
        if store.name == "local":
            self.root = os.path.join(folder, "public")
            os.mkdir(self.root)
            self.url = "file://" + self.root
        elif store.name == "s3d":
            self.url = "s3://test/" + PUBLIC.rstrip("/")
        else:
            self.bucket = "p" + uuid.uuid4().hex[:12]
            store.s3.create_bucket(Bucket=self.bucket)
            self.url = "s3://" + self.bucket

    def put(self, name, data):
        if self.store.name == "local":
            os.makedirs(os.path.dirname(os.path.join(self.root, name)), exist_ok=True)
            write(os.path.join(self.root, name), data)
        elif self.store.name == "s3d":
            self.store.server.put(PUBLIC + name, data)
        else:
            self.store.s3.put_object(Bucket=self.bucket, Key=name, Body=data)

    def state(self):
        """All of it: what the tests here must never change."""
        if self.store.name == "local":
            return {n: read(os.path.join(self.root, n))
                    for n, size in lib.tree(self.root).items() if size is not None}
        bucket = "test" if self.store.name == "s3d" else self.bucket
        prefix = PUBLIC if self.store.name == "s3d" else ""
        keys = [c["Key"] for c in self.store.s3.list_objects_v2(
            Bucket=bucket, Prefix=prefix).get("Contents", [])]
        return {k: self.store.s3.get_object(Bucket=bucket, Key=k)["Body"].read() for k in keys}


@pytest.fixture
def under(request, folder):
    name = next(n for n in ("store", "local", "s3d", "minio") if n in request.fixturenames)
    layer = Under(request.getfixturevalue(name), folder)
    layer.put("obs/a.fits", b"public a")
    layer.put("obs/b.fits", b"public b")
    layer.put("obs2/c.fits", body(1 << 20))
    layer.was = layer.state()
    assert len(layer.was) == 3
    yield layer
    if layer.store.name == "s3d":
        layer.store.server.clear()
    assert layer.state() == layer.was, "the public source was written to"


@pytest.fixture
def joined(mount, under):
    def make(store, **opts):
        return mount(store, **{"public": under.url, **opts})
    return make


def own_files(store):
    return [n for n in store.files() if "/.wh." not in "/" + n]


def xattr(path, name):
    return os.getxattr(path, "user.mastfs." + name).decode()


@every_store
def test_one_tree_of_both(store, under, joined):
    store.put("obs/a.fits", b"own a")
    store.put("obs/own.fits", b"own only")
    store.put("mine/x", b"x")
    m = joined(store)
    assert sorted(os.listdir(m.point)) == ["mine", "obs", "obs2"]
    assert sorted(os.listdir(m.path("obs"))) == ["a.fits", "b.fits", "own.fits"]
    assert read(m.path("obs/a.fits")) == b"own a"
    assert read(m.path("obs/b.fits")) == b"public b"
    same(read(m.path("obs2/c.fits")), body(1 << 20))
    assert lib.tree(m.point)["obs/b.fits"] == 8
    fails(errno.ENOENT, os.stat, m.path("obs/none.fits"))
    m.remount(wipe=True)
    # Cold, by name, without a listing before.
    assert read(m.path("obs/b.fits")) == b"public b"
    assert read(m.path("obs/a.fits")) == b"own a"


@every_store
def test_writing_to_a_public_file_copies_it_up(store, joined):
    m = joined(store)
    write(m.path("obs/a.fits"), b"+", "ab")
    with open(m.path("obs2/c.fits"), "r+b") as f:
        f.seek(5)
        f.write(b"changed")
    want = bytearray(body(1 << 20))
    want[5:12] = b"changed"
    for _ in range(2):
        assert read(m.path("obs/a.fits")) == b"public a+"
        same(read(m.path("obs2/c.fits")), bytes(want))
        m.remount(wipe=True)
    assert own_files(store) == ["obs/a.fits", "obs2/c.fits"]
    same(store.get("obs2/c.fits"), bytes(want))
    write(m.path("obs/b.fits"), b"new")
    assert store.get("obs/b.fits") == b"new"


@every_store
def test_removed_public_file_stays_removed(store, joined):
    m = joined(store)
    os.unlink(m.path("obs/a.fits"))
    for _ in range(2):
        fails(errno.ENOENT, os.stat, m.path("obs/a.fits"))
        assert os.listdir(m.path("obs")) == ["b.fits"]
        m.remount(wipe=True)
    # And again with an own object over it.
    write(m.path("obs/b.fits"), b"mine")
    os.unlink(m.path("obs/b.fits"))
    m.remount(wipe=True)
    assert os.listdir(m.path("obs")) == []
    write(m.path("obs/a.fits"), b"again")
    m.remount(wipe=True)
    assert os.listdir(m.path("obs")) == ["a.fits"]
    assert read(m.path("obs/a.fits")) == b"again"
    assert own_files(store) == ["obs/a.fits"]


@every_store
def test_removed_directories(store, joined):
    m = joined(store)
    fails(errno.ENOTEMPTY, os.rmdir, m.path("obs"))
    done = subprocess.run(["rm", "-r", m.path("obs")], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert os.listdir(m.point) == ["obs2"]
        fails(errno.ENOENT, os.stat, m.path("obs"))
        fails(errno.ENOENT, os.stat, m.path("obs/a.fits"))
        m.remount(wipe=True)
    os.mkdir(m.path("obs"))
    assert os.listdir(m.path("obs")) == []
    write(m.path("obs/a.fits"), b"mine")
    m.remount(wipe=True)
    assert lib.tree(m.path("obs")) == {"a.fits": 4}


@every_store
def test_renames(store, joined):
    m = joined(store)
    write(m.path("obs/a.fits.part"), b"mine")
    os.rename(m.path("obs/a.fits.part"), m.path("obs/a.fits"))
    os.rename(m.path("obs/b.fits"), m.path("obs/moved.fits"))
    done = subprocess.run(["mv", m.path("obs2"), m.path("obs3")], stderr=subprocess.PIPE,
                          text=True)
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert sorted(os.listdir(m.path("obs"))) == ["a.fits", "moved.fits"]
        assert read(m.path("obs/a.fits")) == b"mine"
        assert read(m.path("obs/moved.fits")) == b"public b"
        assert sorted(os.listdir(m.point)) == ["obs", "obs3"]
        same(read(m.path("obs3/c.fits")), body(1 << 20))
        m.remount(wipe=True)
    assert own_files(store) == ["obs/a.fits", "obs/moved.fits", "obs3/c.fits"]


@every_store
def test_times_of_public_files(store, joined):
    m = joined(store)
    when = 1_600_000_000
    os.utime(m.path("obs/a.fits"), (when, when))
    assert os.stat(m.path("obs/a.fits")).st_mtime == when
    m.remount(wipe=True)
    assert os.stat(m.path("obs/a.fits")).st_mtime == when
    assert read(m.path("obs/a.fits")) == b"public a"
    # What cp -p and rsync -a do.
    subprocess.run(["cp", "-p", m.path("obs/a.fits"), m.path("obs/b.fits")], check=True)
    assert read(m.path("obs/b.fits")) == b"public a"
    assert os.stat(m.path("obs/b.fits")).st_mtime == when
    assert own_files(store) == ["obs/a.fits", "obs/b.fits"]


@every_store
def test_origin(store, under, joined):
    m = joined(store)
    store.put("mine", b"1")
    assert xattr(m.path("obs/a.fits"), "origin") == under.url + "/obs/a.fits"
    assert xattr(m.path("mine"), "origin") == store.source + "/mine"
    write(m.path("new.part"), b"1")
    assert xattr(m.path("new.part"), "origin") == "here, not uploaded yet"
    os.rename(m.path("new.part"), m.path("new"))
    assert xattr(m.path("new"), "origin") == store.source + "/new"
    write(m.path("obs/a.fits"), b"mine now")
    assert xattr(m.path("obs/a.fits"), "origin") == store.source + "/obs/a.fits"
    assert "user.mastfs.origin" in os.listxattr(m.path("mine"))


@every_store
def test_reserved_names(store, joined):
    m = joined(store)
    fails(errno.ENOENT, os.stat, m.path("obs/.wh.a.fits"))
    os.listdir(m.path("obs"))
    fails(errno.EILSEQ, write, m.path("obs/.wh.a.fits"), b"")
    fails(errno.EILSEQ, os.mkdir, m.path(".wh.obs"))
    write(m.path("x.part"), b"1")
    fails(errno.EILSEQ, os.rename, m.path("x.part"), m.path("obs/.wh.x"))
    assert sorted(os.listdir(m.path("obs"))) == ["a.fits", "b.fits"]
    assert own_files(store) == store.files() == []


@every_store
def test_two_mounts_see_each_others_removals(store, joined):
    one, two = joined(store, ttl=0), joined(store, ttl=0)
    assert sorted(os.listdir(two.path("obs"))) == ["a.fits", "b.fits"]
    os.unlink(one.path("obs/a.fits"))
    wait("the other mount sees it", lambda: os.listdir(two.path("obs")) == ["b.fits"])
    wait("by name", lambda: not os.path.exists(two.path("obs/a.fits")))


def test_other_client_is_faster(s3d, under, joined):
    """P5: over a public file means that nobody else put an own one there."""
    m = joined(s3d)
    f = open(m.path("obs/a.fits"), "r+b", buffering=0)
    f.write(b"mine")
    s3d.put("obs/a.fits", b"theirs")
    fails(errno.ESTALE, f.close)
    assert s3d.get("obs/a.fits") == b"theirs"


def test_import_finds_the_public_file(s3d, under, joined):
    """The application's sequence: what is there already is not downloaded, so no byte of it
    moves."""
    m = joined(s3d)
    s3d.server.mark()
    for name, size in (("obs/a.fits", 8), ("obs/b.fits", 8), ("obs2/c.fits", 1 << 20)):
        final = m.path(name)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        assert not os.path.exists(final + ".part")
        assert os.path.exists(final) and os.path.getsize(final) == size
    asked = s3d.server.new()
    data = [r for r in asked if r["method"] == "GET" and "list-type" not in json.dumps(r)]
    assert data == [], data
    assert not [r for r in asked if r["method"] in ("PUT", "POST", "DELETE")]
    # Each directory and each file is asked for once in each source, the whiteouts once a
    # directory.
    assert len(asked) <= 2 * 2 + 2 * 3 + 1 + 2, [(r["method"], r["path"]) for r in asked]
    # A file that the archive has not is downloaded as ever.
    write(m.path("obs/new.fits.part"), b"downloaded")
    os.rename(m.path("obs/new.fits.part"), m.path("obs/new.fits"))
    assert own_files(s3d) == ["obs/new.fits"]


@every_store
def test_a_public_file_that_is_open_gets_another_name(store, joined):
    """It becomes a file of ours, also for who has it open."""
    m = joined(store, ttl=0, upload="close")
    with open(m.path("obs/a.fits"), "r+b", 0) as f:
        ino = os.fstat(f.fileno()).st_ino
        os.rename(m.path("obs/a.fits"), m.path("obs/moved.fits"))
        assert os.stat(m.path("obs/moved.fits")).st_ino == ino
        assert f.write(b"PUBLIC") == 6
    assert read(m.path("obs/moved.fits")) == b"PUBLIC a"
    m.umount()
    assert own_files(store) == ["obs/moved.fits"]


@every_store
def test_application_over_the_union(store, under, joined):
    """It downloads over public names, and deletes them."""
    under.put("app/%s/f0_i2d.fits" % OBS, b"public")
    under.was = under.state()
    m = joined(store)
    for _ in range(2):
        done = subprocess.run([sys.executable, REPLAY, m.path("app"), "--mb", "1"],
                              text=True, timeout=400 * lib.SLOW, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stdout + done.stderr
    m.umount()
    assert own_files(store) == []


def break_public(server):
    server.rule("status", key="^" + PUBLIC, status=503, code="ServiceUnavailable")
    server.rule("status", query="prefix=" + PUBLIC.replace("/", "(/|%2F)"), status=503,
                code="ServiceUnavailable")


def test_public_source_down(s3d, under, joined):
    """P10: own files stay usable; a public name fails, and is there again afterwards."""
    s3d.put("obs/own.fits", b"own")
    s3d.put("mine/x", b"x")
    m = joined(s3d, ttl=1, read_timeout=3)
    assert sorted(os.listdir(m.path("obs"))) == ["a.fits", "b.fits", "own.fits"]
    break_public(s3d.server)
    time.sleep(1.5)
    assert read(m.path("obs/own.fits")) == b"own"
    assert read(m.path("mine/x")) == b"x"
    write(m.path("mine/x"), b"y")
    assert s3d.get("mine/x") == b"y"
    for call in (lambda: os.stat(m.path("obs/a.fits")), lambda: os.listdir(m.path("obs"))):
        try:
            got = call()
            assert got is None, got
        except OSError as err:
            assert err.errno in (errno.EIO, errno.ETIMEDOUT), err
    s3d.server.clear()
    assert sorted(os.listdir(m.path("obs"))) == ["a.fits", "b.fits", "own.fits"]
    assert read(m.path("obs/a.fits")) == b"public a"


def test_mounts_while_the_public_source_is_down(s3d, under, joined):
    s3d.put("mine/x", b"x")
    break_public(s3d.server)
    m = joined(s3d, ttl=1, read_timeout=3)
    assert read(m.path("mine/x")) == b"x"
    assert "does not answer" in m.log()
    s3d.server.clear()
    assert read(m.path("obs/a.fits")) == b"public a"


def test_open_public_file_is_not_fetched_to_lose_its_name(s3d, under, joined):
    """P1: its bytes stay where they are, and whoever has it open gets them from there."""
    size = 24 << 20
    for name in ("gone", "replaced"):
        under.put("big/%s.fits" % name, body(size))
    under.was = under.state()
    m = joined(s3d)
    files = [open(m.path("big", name + ".fits"), "rb", buffering=0)
             for name in ("gone", "replaced")]
    s3d.server.mark()
    os.unlink(m.path("big/gone.fits"))
    write(m.path("big/x.part"), b"mine")
    os.rename(m.path("big/x.part"), m.path("big/replaced.fits"))
    wait("the removal is in the bucket", lambda: "big/.wh.gone.fits" in s3d.files())
    assert not [r for r in s3d.server.new("GET") if PUBLIC + "big/" in r["path"]]
    for f in files:
        same(lib.pread(f.fileno(), size, 0), body(size))
        f.close()
    assert read(m.path("big/replaced.fits")) == b"mine"
    fails(errno.ENOENT, os.stat, m.path("big/gone.fits"))


def test_read_only(s3d, under, joined):
    m = joined(s3d, ro=True)
    assert read(m.path("obs/a.fits")) == b"public a"
    fails(errno.EROFS, write, m.path("obs/a.fits"), b"1")
    fails(errno.EROFS, os.unlink, m.path("obs/a.fits"))


def test_kill_after_a_removal(s3d, under, joined):
    """P3: what was removed stays removed."""
    m = joined(s3d)
    os.unlink(m.path("obs/a.fits"))
    m.kill()
    m.mount()
    assert os.listdir(m.path("obs")) == ["b.fits"]
    m.remount(wipe=True)
    assert os.listdir(m.path("obs")) == ["b.fits"]


# --- the public archive as the second source ---

KEY = "jwst/public/jw02733/L3/t/o001/" + OBS + "_%s.fits"


@pytest.fixture
def archive(folder):
    """A bucket with the archive's layout that anybody may read."""
    place = os.path.join(folder, "archive")
    os.mkdir(place)
    store = lib.S3dStore(place, "--anonymous")
    for suffix, data in (("i2d", body(1 << 20, 7)), ("cat", b"catalogue")):
        store.server.put(KEY % suffix, data)
    yield store
    store.stop()


@pytest.fixture
def over_archive(mount, archive):
    def make(store, **opts):
        return mount(store, **{"public": "mast:", "mast_endpoint": archive.url,
                               "mast_bucket": "test", **opts})
    return make


def product(m, suffix):
    return m.path(OBS, OBS + "_%s.fits" % suffix)


@every_store
def test_archive_under_the_bucket(store, archive, over_archive):
    store.put(OBS + "/notes.txt", b"own")
    m = over_archive(store)
    same(read(product(m, "i2d")), body(1 << 20, 7))
    assert sorted(os.listdir(m.path(OBS))) == sorted(
        ["notes.txt", OBS + "_i2d.fits", OBS + "_cat.fits"])
    assert xattr(product(m, "i2d"), "origin") == "s3://test/" + KEY % "i2d"
    write(product(m, "cat"), b"mine")
    os.unlink(product(m, "i2d"))
    m.remount(wipe=True)
    assert sorted(os.listdir(m.path(OBS))) == ["jw02733-o001_t001_nircam_clear-f200w_cat.fits",
                                               "notes.txt"]
    assert read(product(m, "cat")) == b"mine"
    assert not [r for r in archive.server.log() if r["method"] not in ("GET", "HEAD")]


def test_import_over_the_archive(s3d, archive, over_archive):
    """What the archive has is not downloaded: no byte of it moves."""
    m = over_archive(s3d)
    archive.server.mark()
    for suffix, size in (("i2d", 1 << 20), ("cat", 9)):
        final = product(m, suffix)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        assert not os.path.exists(final + ".part")
        assert os.path.exists(final) and os.path.getsize(final) == size
    asked = archive.server.new()
    assert all(r["method"] == "HEAD" or "list-type" in json.dumps(r) for r in asked), asked
    assert len(asked) <= 2, asked
    assert own_files(s3d) == []


def test_reprocessed_product_is_noticed_at_open(s3d, archive, over_archive):
    """The archive's names are believed for an hour, but not by who opens one; whoever has the
    old version open keeps its bytes."""
    m = over_archive(s3d, ttl=1)
    old, new = body(1 << 20, 7), body(1 << 20, 8)
    with open(product(m, "i2d"), "rb", buffering=0) as f:
        same(lib.pread(f.fileno(), 1 << 20, 0), old)
        number = os.fstat(f.fileno()).st_ino
        archive.server.put(KEY % "i2d", new)
        time.sleep(1.5)
        same(read(product(m, "i2d")), new)
        assert os.stat(product(m, "i2d")).st_ino != number
        same(lib.pread(f.fileno(), 1 << 20, 0), old)
        # Removed from there: not found, and no error before that.
        archive.server.delete(KEY % "i2d")
        time.sleep(1.5)
        fails(errno.ENOENT, read, product(m, "i2d"))
        same(lib.pread(f.fileno(), 1 << 20, 0), old)

    def again():
        assert read(product(m, "cat")) == b"catalogue"
        archive.server.mark()
        assert read(product(m, "cat")) == b"catalogue"
        return archive.server.new()
    # Within ttl nobody is asked again.
    assert lib.within(1, again) == []


def test_archive_down(s3d, archive, over_archive):
    s3d.put("mine", b"x")
    m = over_archive(s3d, ttl=1, read_timeout=3)
    assert read(product(m, "cat")) == b"catalogue"
    archive.server.rule("status", status=503, code="SlowDown")
    time.sleep(1.5)
    assert read(m.path("mine")) == b"x"
    # What it told is believed, and what is cached is read.
    assert read(product(m, "cat")) == b"catalogue"
    write(m.path("other"), b"y")  # no name that the archive could have
    assert s3d.get("other") == b"y"
