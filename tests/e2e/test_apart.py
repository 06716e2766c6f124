"""Daemons and programs in containers of their own, as far as the kernel's namespaces make one:
no two daemons share a cache directory, two with one bucket are safe (P4, P5), and a writer whose
pid says nothing to the daemon is served right (P2)."""
import errno
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import lib
from lib import body, read, same, wait, write
from test_bad_input import refuse
from test_drain import draining, ended

# A pid namespace with its own /proc; what is mounted below a shared mount is seen by all.
CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation",
             "unchanged", "--mount-proc"]


@pytest.fixture
def contain(folder, mount):
    """contain(store, ...) -> a mount whose daemon is in a container."""
    if os.getuid() or subprocess.run([*CONTAINER, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("cannot unshare")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)

    made = []

    def make(store, **opts):
        made.append(mount(store, user=CONTAINER, **opts))
        return made[-1]

    yield make
    for m in made:
        m.force_out()
    subprocess.run(["umount", "-l", folder], check=True)


# --- one cache directory ---

def test_cache_directory_is_one_daemons(s3d, contain, mount):
    """Whatever its number says and by whatever path."""
    m = contain(s3d)
    other = mount(s3d, start=False, cache_dir=m.cache)
    line = refuse(other, m.cache, "another mastfs uses it", "in another container")
    assert re.search(r"pid \d+ in another", line)
    bound = os.path.join(other.folder, "bound")
    os.mkdir(bound)
    subprocess.run(["mount", "--bind", m.cache, bound], check=True)
    other.opts["cache_dir"] = bound
    try:
        refuse(other, bound, "another mastfs uses it")
        write(m.path("f"), body(1000))
        m.kill()
        wait("the daemon's end", lambda: not m.alive())
        other.mount()
        same(read(other.path("f")), body(1000))
        other.umount()
    finally:
        subprocess.run(["umount", "-l", bound], check=True)


def test_container_finds_it_taken_too(s3d, contain, mount):
    m = mount(s3d)
    other = contain(s3d, start=False, cache_dir=m.cache)
    refuse(other, m.cache, "another mastfs uses it", "in another container")


def test_drain_in_a_container_is_waited_for(s3d, contain, mount):
    m = contain(s3d, upload="background", drain="100s")
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), body(1000))
    done = m.run("umount", m.point)
    assert done.returncode == 0 and "cannot be seen from here" in done.stderr, done.stderr
    draining(m)
    other = mount(s3d, start=False, cache_dir=m.cache)
    other.start()
    wait("the next to wait", lambda: "in another container" in other.log())
    s3d.server.clear()
    ended(m, 0)
    wait("the mount", other.alive)
    same(read(other.path("f")), body(1000))


def test_killed_container_leaves_the_journal(s3d, contain, mount):
    m = contain(s3d, upload="background")
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), body(1000))
    m.kill()
    wait("the daemon's end", lambda: not m.alive())
    s3d.server.clear()
    m.mount()
    same(read(m.path("f")), body(1000))
    wait("the upload", lambda: s3d.get("f") == body(1000))


def test_mount_that_others_have_too(local, mount):
    """Whoever copied the mounts meanwhile keeps it alive: umount says why the daemon stays."""
    if os.getuid() or subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("cannot unshare")
    m = mount(local)
    other = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                              "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        done = m.run("umount", "-o", "drain=1s", m.point)
        assert done.returncode == 1 and "another mount namespace" in done.stderr, done.stderr
        assert not lib.mounted(m.point) and m.process.poll() is None
        m.process.terminate()
        ended(m, 0)
    finally:
        other.kill()
        other.wait()


# --- writers that cannot be seen ---

def puts(s3d, name):
    return [c["size"] for c in s3d.server.commits() if c["key"] == lib.PREFIX + name]


def write_in_steps(path):
    """As numpy does: each array through a duplicate, which is closed after it."""
    with open(path, "wb", buffering=0) as f:
        for n in range(8):
            dup = os.dup(f.fileno())
            os.write(dup, body(1000, n))
            os.close(dup)


def test_writer_that_is_seen(s3d, contain, mount):
    m = mount(s3d)
    write_in_steps(m.path("f"))
    assert puts(s3d, "f") == [8000]
    same(s3d.get("f"), b"".join(body(1000, n) for n in range(8)))


def test_writer_that_is_not_seen(s3d, contain):
    """Pid 0: each close may be the last, so each publishes; never too rarely."""
    m = contain(s3d)
    write_in_steps(m.path("f"))
    assert puts(s3d, "f") == [1000 * n for n in range(1, 9)]
    same(s3d.get("f"), b"".join(body(1000, n) for n in range(8)))
    with open(m.path("g"), "wb", buffering=0) as f:
        f.write(b"one")
        os.close(os.dup(f.fileno()))
        assert s3d.get("g") == b"one"
        f.write(b" and two")
    assert s3d.get("g") == b"one and two"


def test_two_writers_that_are_not_seen(s3d, contain):
    """Neither's close publishes half of what the other writes for the last time."""
    m = contain(s3d)
    with open(m.path("f"), "wb", buffering=0) as a, open(m.path("f"), "r+b", buffering=0) as b:
        a.write(b"a" * 1000)
        os.pwrite(b.fileno(), b"b" * 1000, 1000)
        b.close()
        os.pwrite(a.fileno(), b"c" * 1000, 2000)
    same(s3d.get("f"), b"a" * 1000 + b"b" * 1000 + b"c" * 1000)


# --- two caches, one bucket ---

ROUNDS = 5 if lib.SANITIZER else 25


def add_one(path):
    """Read, and write one more; of two that do it at once one is told, and begins anew."""
    while True:
        try:
            with open(path, "r+b", buffering=0) as f:
                n = int(f.read())
                f.seek(0)
                f.write(b"%08d" % (n + 1))
            return
        except OSError as err:
            assert err.errno in (errno.ESTALE, errno.EEXIST), err
            give_up(path)


def give_up(path):
    """What was written and not published is dropped; theirs stays."""
    if os.getxattr(path, "user.mastfs.state") == b"conflict":
        os.unlink(path)


def count(m, name):
    for _ in range(ROUNDS):
        add_one(m.path(name))


def write_own(m, mine, n):
    for i in range(ROUNDS):
        path = m.path("own", "%s.%d" % (mine, n))
        write(path + ".part", body(2000, i))
        os.rename(path + ".part", path)
        same(read(path), body(2000, i))


@pytest.mark.stores("s3d", "minio")
def test_two_mounts_write_at_once(store, mount):
    """P5: no update is lost, of names that both write; P4: nobody's own is disturbed."""
    names = ["shared/a", "shared/b"]
    for name in names:
        store.put(name, b"%08d" % 0)
    store.put("own/", b"")
    mounts = [mount(store, ttl=0, log_level="info") for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(count, m, name) for m in mounts for name in names]
        jobs += [pool.submit(write_own, m, "ab"[k], n)
                 for k, m in enumerate(mounts) for n in range(2)]
        for job in jobs:
            job.result(200 * lib.SLOW)
    for name in names:
        assert store.get(name) == b"%08d" % (2 * ROUNDS)
    for m in mounts:
        for name in names:
            assert read(m.path(name)) == b"%08d" % (2 * ROUNDS)
        m.umount()
    for name in ("a.0", "a.1", "b.0", "b.1"):
        same(store.get("own/" + name), body(2000, ROUNDS - 1))
    assert [n for n in store.files() if n.startswith("own/")] == [
        "own/a.0", "own/a.1", "own/b.0", "own/b.1"]
    assert store.uploads() == []
