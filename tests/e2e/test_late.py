"""The store comes up after the mount, or never: what needs it waits and then fails (P8), nothing
is lost or hidden (P3, P10), and no write is sent before it is known what the store honours (P5).

The server is there all the time; the way to it is not."""
import errno
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import cloud
import front
import lib
from lib import body, fails, port_of, read, same, wait, write
from test_bad_input import refuse
from test_drain import LEFT, ended

AWAY = "cannot be used yet"
BACK = "answers now"
GONE = (errno.ETIMEDOUT, errno.EIO)
DEAD = (errno.ENOTCONN, errno.ECONNABORTED)


def lead_over(store, way):
    """The store's clients of ours go this way from now on."""
    old = ":%d" % port_of(store)
    store.env = {n: v.replace(old, ":%d" % way.port) for n, v in store.env.items()}


@pytest.fixture
def way(s3d):
    """To s3d; nobody is there yet."""
    made = front.Front(s3d.server.port)
    lead_over(s3d, made)
    made.be("refuse")
    yield made
    made.stop()


@pytest.fixture
def ask():
    """ask(call, ...) -> a future; what hangs is the daemon's fault, and ends with it."""
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


def said(m, word):
    """So many lines for whoever runs it."""
    return sum(word in line and "mastfs: debug: " not in line
               for line in m.log().splitlines())


def looks(m):
    return m.log().count("mastfs: debug: s3: cannot connect to") or \
        m.log().count("cannot connect to")


def fails_away(asked):
    err = asked.exception(30 * lib.SLOW)
    assert isinstance(err, OSError) and err.errno in GONE, err


@pytest.mark.short
def test_readers_wait_for_it(s3d, way, mount, ask):
    s3d.put("d/f", body(1 << 20))
    m = mount(s3d)
    assert said(m, AWAY) == 1 and ":%d: " % way.port in m.log().split(AWAY)[1], m.tail()
    asked = [ask(read, m.path("d/f")), ask(os.listdir, m.point), ask(os.stat, m.path("none"))]
    wait("some looks", lambda: looks(m) > 2)
    assert not any(a.done() for a in asked) and s3d.server.log() == []
    way.be("good")
    same(asked[0].result(60), body(1 << 20))
    assert asked[1].result(60) == ["d"]
    assert isinstance(asked[2].exception(60), FileNotFoundError)
    assert said(m, AWAY) == said(m, BACK) == 1
    # All that was found out, and nothing left of it.
    write(m.path("new"), b"new")
    put = [r for r in s3d.server.log() if r["method"] == "PUT" and r["key"].endswith("/new")]
    assert len(put) == 1 and s3d.files() == ["d/f", "new"] and s3d.uploads() == []
    s3d.put("new", b"theirs")
    f = open(m.path("new"), "r+b", buffering=0)
    s3d.put("new", b"theirs too")
    f.write(b"mine")
    fails(errno.ESTALE, f.close)
    assert s3d.get("new") == b"theirs too"
    m.kill()


def test_one_that_never_comes(s3d, way, mount, ask):
    """P10: not empty, not missing, but an error in time; what is only ours goes on."""
    m = mount(s3d, read_timeout="2s", drain="1s")
    os.statvfs(m.point)
    assert os.stat(m.point)
    asked = [ask(call, m.path(name)) for call, name in (
        (os.listdir, "."), (os.stat, "f"), (os.mkdir, "d"), (os.unlink, "g"),
        (lambda path: write(path, b"x"), "h"))]
    write(m.path("x.part"), body(100000))
    same(read(m.path("x.part")), body(100000))
    for a in asked:
        fails_away(a)
    fails_away(ask(os.rename, m.path("x.part"), m.path("x")))
    same(read(m.path("x.part")), body(100000))
    assert said(m, AWAY) == 1 and said(m, BACK) == 0
    m.umount()
    m.mount()
    same(read(m.path("x.part")), body(100000))


def test_black_hole(s3d, way, mount, ask):
    """Whoever takes connections and says nothing holds up the mount for seconds."""
    s3d.put("f", b"text")
    way.be("silent")
    began = time.monotonic()
    m = mount(s3d)
    assert time.monotonic() - began < 15 * lib.SLOW
    assert said(m, AWAY) == 1 and way.taken
    asked = ask(read, m.path("f"))
    way.be("good")
    assert asked.result(60) == b"text"


def test_in_the_background(s3d, way, mount):
    """The command ends with success and one line."""
    m = mount(s3d, start=False)
    done = subprocess.run(m.command(), env=m.env(), text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert done.returncode == 0 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("mastfs: warning: ") and str(way.port) in done.stderr
    finally:
        assert m.run("umount", m.point).returncode == 0


@pytest.mark.parametrize("mode", ["refuse", "reset"])
def test_required(s3d, way, mount, mode):
    way.be(mode)
    m = mount(s3d, start=False, require_backend="yes")
    if mode == "refuse":
        refuse(m, str(way.port))
    m.opts["require_backend"] = "no"
    m.mount()
    assert said(m, AWAY) == 1


def test_a_name_that_is_none(s3d, mount):
    s3d.env["AWS_ENDPOINT_URL"] = "https://no-such-host.invalid"
    m = mount(s3d)
    assert said(m, AWAY) == 1 and "no-such-host.invalid" in m.log().split(AWAY)[1]


def kept(s3d, way, mount, name, **opts):
    """A mount that was killed with a file that waits for its upload, and one that waits for
    its removal; nobody is there now."""
    way.be("good")
    s3d.put("d/seen", body(300000))
    s3d.put("gone", b"x")
    m = mount(s3d, upload="background", **opts)
    assert os.listdir(m.point) == ["d", "gone"]
    same(read(m.path("d/seen")), body(300000))
    for method in ("PUT", "DELETE"):
        s3d.server.rule("status", method, status=503, code="SlowDown")
    write(m.path(name), body(5000, 1))
    os.unlink(m.path("gone"))
    m.kill()
    way.be("refuse")
    wait("its last request", lambda: s3d.server.clients() == 0)
    s3d.server.clear()
    return m


def test_journaled_upload_goes_up(s3d, way, mount):
    """P3: and is there for its reader before."""
    m = kept(s3d, way, mount, "new").mount()
    same(read(m.path("new")), body(5000, 1))
    wait("some looks", lambda: looks(m) > 2)
    assert s3d.get("new") is None
    way.be("good")
    wait("the upload", lambda: s3d.get("new") == body(5000, 1))
    assert sorted(os.listdir(m.point)) == ["d", "new"]
    wait("the removal", lambda: s3d.get("gone") is None)
    m.umount()
    assert s3d.files() == ["d/seen", "new"] and s3d.uploads() == []


def test_end_before_it_comes(s3d, way, mount):
    """What is left is told and stays, whoever ends it."""
    m = kept(s3d, way, mount, "new", drain="1s").mount()
    m.process.send_signal(signal.SIGTERM)
    ended(m, LEFT)
    assert "2 changes are not in the bucket yet" in m.log()
    assert "new" in m.log().split("2 changes")[1]
    m.mount()
    done = m.run("umount", m.point)
    assert done.returncode == 1 and "new" in done.stderr, done.stderr
    ended(m, LEFT)
    way.be("good")
    m.mount()
    m.umount()
    same(s3d.get("new"), body(5000, 1))


def test_killed_while_somebody_waits(s3d, way, mount, ask):
    m = kept(s3d, way, mount, "new").mount()
    asked = [ask(os.stat, m.path("unknown")), ask(read, m.path("d/other"))]
    wait("some looks", lambda: looks(m) > 2)
    assert not any(a.done() for a in asked)
    m.kill()
    for a in asked:
        assert a.exception(60).errno in DEAD, a.exception()
    m.mount()
    way.be("good")
    wait("the upload", lambda: s3d.get("new") == body(5000, 1))


REFUSALS = {
    "key": (dict(status=403, code="InvalidAccessKeyId"), errno.EACCES, "does not know this"),
    "bucket": (dict(status=404, code="NoSuchBucket"), errno.EIO, "there is no bucket"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_later(s3d, way, mount, name):
    """The errno says so at once, the log once; and when it is mended all goes on."""
    rule, error, word = REFUSALS[name]
    m = kept(s3d, way, mount, "new", read_timeout="60s").mount()
    s3d.server.rule("status", **rule)
    way.be("good")
    for _ in range(3):
        fails(error, os.stat, m.path("d"))
    asked = len(s3d.server.log())
    wait("some looks", lambda: len(s3d.server.log()) > asked + 2)
    assert said(m, word) == 1, m.tail()
    same(read(m.path("new")), body(5000, 1))
    s3d.server.clear()
    wait("it is let in", lambda: said(m, BACK))
    assert os.listdir(m.path("d")) == ["seen"]
    m.umount()
    assert s3d.files() == ["d/seen", "new"]
    same(s3d.get("new"), body(5000, 1))


def test_refused_at_once(s3d, way, mount):
    """Definite answers end the mount, as ever."""
    way.be("good")
    s3d.server.rule("status", status=403, code="InvalidAccessKeyId")
    refuse(mount(s3d, start=False), "does not know this")


def test_takes_no_writes(s3d, way, mount):
    """Found out late: EROFS from then on, and what was written before stays here."""
    m = kept(s3d, way, mount, "new", drain="1s").mount()
    s3d.server.rule("status", "PUT", status=403, code="AccessDenied")
    way.be("good")
    wait("a look", lambda: said(m, BACK))
    assert said(m, "takes no writes from us") == 1
    fails(errno.EROFS, write, m.path("f"), b"")
    fails(errno.EROFS, os.mkdir, m.path("e"))
    same(read(m.path("new")), body(5000, 1))
    same(read(m.path("d/seen")), body(300000))
    # The next one after a failure is half a minute away.
    wait("the attempt", lambda: said(m, "new is not in the bucket yet"), 60)
    m.process.terminate()
    ended(m, LEFT)
    s3d.server.clear()
    m.mount()
    m.umount()
    same(s3d.get("new"), body(5000, 1))


def test_read_only(s3d, way, mount, ask):
    s3d.put("f", b"text")
    m = mount(s3d, ro="yes")
    asked = ask(read, m.path("f"))
    wait("some looks", lambda: looks(m) > 2)
    way.be("good")
    assert asked.result(60) == b"text"
    assert [r for r in s3d.server.log() if r["method"] not in ("GET", "HEAD")] == []


def test_a_look_that_meets_itself(s3d, mount):
    """An answer is lost, the HTTP library asks again: that the object is there is our doing."""
    s3d.server.rule("drop_reply", "PUT", header="if-none-match", count=1)
    m = mount(s3d)
    write(m.path("f"), b"text")
    assert said(m, "error:") == said(m, AWAY) == 0, m.tail()
    m.umount()
    assert s3d.files() == ["f"]


def test_faults_during_the_look(s3d, way, mount):
    """Whatever half of it met, the rest is made good, and nothing of it is left."""
    m = mount(s3d)
    s3d.server.chaos(0.3, seed=7, kinds=["reset", "drop_reply"])
    way.be("good")
    write(m.path("f"), body(100000))
    s3d.server.clear()
    m.umount()
    same(s3d.get("f"), body(100000))


@pytest.mark.stores("minio", "azurite", "fake_gcs")
def test_other_stores(store, mount, ask):
    way = front.Front(port_of(store))
    try:
        store.put("f", b"text")
        lead_over(store, way)
        way.be("refuse")
        m = mount(store)
        asked = ask(read, m.path("f"))
        wait("some looks", lambda: looks(m) > 2)
        assert said(m, AWAY) == 1 and not asked.done()
        way.be("good")
        assert asked.result(60) == b"text"
        write(m.path("new"), body(20 << 20))
        os.rename(m.path("new"), m.path("moved"))
        m.umount()
        same(store.get("moved"), body(20 << 20))
        assert sorted(store.files()) == ["f", "moved"] and store.uploads() == []
    finally:
        way.stop()


def test_whoever_gives_tokens_is_away_too(folder, mount, ask):
    """The token is asked for before the bucket, and waited for alike."""
    store = cloud.GcsdStore(folder, "--token", "first")
    way = front.Front(port_of(store))
    try:
        path = os.path.join(folder, "adc.json")
        write(path, json.dumps({
            "type": "authorized_user", "client_id": "id", "client_secret": "canary",
            "refresh_token": "canary", "token_uri": way.url + "/token"}).encode())
        store.env = {"GOOGLE_APPLICATION_CREDENTIALS": path}
        way.be("refuse")
        refuse(mount(store, start=False, endpoint=way.url, require_backend="yes"), "/token")
        m = mount(store, endpoint=way.url)
        assert said(m, AWAY) == 1 and said(m, "error:") == 0, m.tail()
        asked = ask(write, m.path("f"), b"text")
        wait("some looks", lambda: m.log().count("/token: ") > 2)
        assert not asked.done()
        way.be("good")
        asked.result(60)
        m.remount(wipe=True)
        assert read(m.path("f")) == b"text"
    finally:
        way.stop()
        store.stop()


def test_public_source_too(s3d, way, mount, ask, folder):
    """Both of a union: own bucket late, the archive's too."""
    under = os.path.join(folder, "public")
    os.mkdir(under)
    write(os.path.join(under, "theirs"), b"theirs")
    s3d.put("own", b"own")
    m = mount(s3d, public="file://" + under)
    asked = ask(os.listdir, m.point)
    wait("some looks", lambda: looks(m) > 2)
    way.be("good")
    assert sorted(asked.result(60)) == ["own", "theirs"]
    write(m.path("theirs"), b"mine")
    assert s3d.get("theirs") == b"mine"
