"""kill -9 at any moment: what was acknowledged is there after the next mount (P3, P4)."""
import json
import os
import random
import subprocess
import sys
import time

import pytest

import lib
from lib import body, read, same, wait, write

KILLS = int(os.environ.get("MASTFS_KILLS", 20 if lib.SANITIZER
                           else 100 if os.environ.get("CI") else 30))
ROUND = 10  # kills between two looks into the bucket with the cache wiped
GONE = None


class Oracle:
    """name -> the contents that it may have now: (seed, size) or GONE."""

    def __init__(self):
        self.names, self.said = {}, []
        self.doing = None

    def may(self, name):
        return self.names.get(name, {GONE})

    def about(self, name):
        """The last that was said of a name, for the message."""
        stem, kept, mine = name.replace(".part", ""), [], False
        for event in self.said:
            mine = event["name"].replace(".part", "") == stem if "do" in event else mine
            if mine or "kill" in event:
                kept.append(event)
        return "\n  ".join(str(e) for e in kept[-25:])

    def hear(self, event):
        self.said.append(event)
        if "do" in event:
            self.doing = event
            name, new = event["name"], (event.get("seed"), event.get("size"))
            if event["do"] == "part":
                self.names[name] = {("prefix", event["seed"], 0), *self.may(name)}
            elif event["do"] == "unlink":
                self.names[name] = {GONE, *self.may(name)}
            else:
                self.names[name] = {new, *self.may(name)}
                if event["do"] == "rename":
                    self.names[name + ".part"] = {GONE, *self.may(name + ".part")}
        elif "wrote" in event:
            self.names[self.doing["name"]] = {("prefix", self.doing["seed"], event["wrote"])}
        elif "did" in event:
            self.done(self.doing)

    def done(self, event):
        name = event["name"]
        if event["do"] == "unlink":
            self.names[name] = {GONE}
        elif event["do"] in ("write", "rename"):
            self.names[name] = {(event["seed"], event["size"])}
            if event["do"] == "rename":
                self.names[name + ".part"] = {GONE}

    def fits(self, name, got):
        """The one of the possible contents that got is, or () if it is none."""
        for want in self.may(name):
            if want is GONE and got is None:
                return want
            if want is GONE or got is None:
                continue
            if want[0] == "prefix":
                _, seed, least = want
                if len(got) >= least and got == body(len(got), seed):
                    return ("prefix", seed, len(got))
            elif len(got) == want[1] and got == body(want[1], want[0]):
                return want
        return ()

    def settle(self, name, got, where):
        want = self.fits(name, got)
        assert want != (), "%s: %s has %s; acknowledged was one of %r\n  %s" % (
            where, name, "nothing" if got is None else "%d bytes" % len(got),
            self.may(name), self.about(name))
        self.names[name] = {want}


def content(path):
    try:
        return read(path)
    except FileNotFoundError:
        return None


def write_until_killed(m, oracle, seed, secs):
    writer = subprocess.Popen([sys.executable, os.path.join(lib.HERE, "writer.py"), m.point,
                               str(seed)], stdout=subprocess.PIPE)
    first = writer.stdout.readline()
    time.sleep(secs)  # the moment of the kill is what is tested
    m.kill()
    said = (first + writer.stdout.read()).splitlines()  # communicate() would lose lines
    writer.stdout.close()
    writer.wait(60 * lib.SLOW)
    for line in said:
        oracle.hear(json.loads(line))
    oracle.hear({"kill": True})
    error = json.loads(said[-1]).get("error", "")
    assert not error or "[Errno 107]" in error or "[Errno 103]" in error, \
        "%s\n  %s" % (error, oracle.about(oracle.doing["name"]))
    return len(said)


def check_bucket(store, m, oracle, where):
    """With the cache wiped only the bucket speaks; what was only here is gone with it."""
    m.umount()
    m.wipe()
    left = [n for n in store.files() if n.endswith(".part")]
    assert left == [] and store.uploads() == [], (left, store.uploads())
    m.mount()
    for name in sorted(oracle.names):
        if name.endswith(".part"):
            oracle.names[name] = {GONE}
            continue
        oracle.settle(name, store.get(name), where + ", in the bucket")
        oracle.settle(name, content(m.path(name)), where + ", through a new mount")


@pytest.mark.parametrize("upload", ["close", "background"])
def test_random_kills(s3d, mount, upload):
    """D9: each time everything acknowledged is there, and nothing is half there."""
    seed = int(os.environ.get("MASTFS_SEED", time.time_ns() % 1000000))
    print("MASTFS_SEED=%d" % seed)
    rand, oracle, events = random.Random(seed), Oracle(), 0
    s3d.server.rule("delay", method="PUT", secs=0.01)
    m = mount(s3d, upload=upload)
    for n in range(KILLS // 2):
        where = "seed %d, kill %d" % (seed, n)
        events += write_until_killed(m, oracle, rand.randrange(1 << 30),
                                     rand.uniform(0, 0.3) * lib.SLOW)
        m.mount()
        for name in sorted(oracle.names):
            oracle.settle(name, content(m.path(name)), where)
        if n % ROUND == ROUND - 1:
            check_bucket(s3d, m, oracle, where)
    check_bucket(s3d, m, oracle, "the end, seed %d" % seed)
    print("%d kills, %d events" % (KILLS // 2, events))
    assert events > KILLS, "the writer hardly wrote: %d events" % events


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
    s3d.server.rule("delay", method="PUT", key="f$", secs=5, count=1)
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


@pytest.mark.parametrize("kills", [1, 2, 3])
@pytest.mark.parametrize("how", ["write", "rename", "unlink and rename"])
def test_own_commit_is_known_again_after_a_kill(s3d, mount, how, kills):
    """P3, P5: killed after the commit and before its answer; the next write is no conflict."""
    m = mount(s3d)
    write(m.path("f"), b"old")
    write(m.path("f.part"), b"x" * 5000)
    s3d.server.rule("delay", method="PUT", key="f$", secs=5, count=1)
    call = {"write": 'open(f, "wb").write(b"x" * 5000)', "rename": "os.rename(f + '.part', f)",
            "unlink and rename": "os.unlink(f); os.rename(f + '.part', f)"}[how]
    writer = subprocess.Popen([sys.executable, "-c", "import os, sys; f = sys.argv[1]; " + call,
                               m.path("f")], stderr=subprocess.DEVNULL)
    wait("the commit", lambda: s3d.get("f") == b"x" * 5000)
    s3d.server.rule("delay", key="f$", secs=0.2)  # the next mount has no time to look
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
