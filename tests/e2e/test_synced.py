"""P3 against a loss of power: what has been acknowledged was synced first, bytes before the
row that names them.  kill -9 does not lose what the kernel has, so the calls are watched."""
import os
import re
import shutil
import subprocess
import threading

import pytest

import lib
from lib import body, read, wait, write

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="no strace")


@pytest.fixture
def trace(folder):
    """trace(mount, calls): from here on these calls of the daemon are noted; the file."""
    log, started = os.path.join(folder, "strace"), []

    def start(m, calls="fsync,fdatasync", *more):
        # Each thread waits for the tracer, so its line is there before the call returns.
        tracer = subprocess.Popen(["strace", "-f", "-y", "-e", "trace=" + calls, *more,
                                   "-o", log, "-p", str(m.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
        started.append(tracer)
        line = tracer.stderr.readline()
        if "attached" not in line:
            pytest.skip("strace: " + line)
        return log

    yield start
    for tracer in started:
        tracer.terminate()
        tracer.wait()


@pytest.fixture
def watch(trace):
    """watch(mount): from here on each sync of the daemon is noted; syncs() tells which."""
    def start(m):
        log = trace(m)

        def syncs(words=("staged", "journal")):
            """staged: a file's bytes; journal: a row; blocks: what the cache has."""
            with open(log) as f:
                found = re.findall(r"f(?:data)?sync\(\d+<([^>]*)>", f.read())
            return [w for path in found for w in words if "/%s" % w in path]
        return syncs
    return start


def test_bytes_then_row_before_close_returns(local, mount, watch):
    m = mount(local, upload="background")
    syncs = watch(m)
    for n in range(3):
        with open(m.path("f%d" % n), "wb", buffering=0) as f:
            f.write(body(100000, n))
            before = len(syncs())
        assert syncs()[before:before + 2] == ["staged", "journal"]


def test_bytes_then_row_before_fsync_returns(local, mount, watch):
    m = mount(local)
    syncs = watch(m)
    with open(m.path("f.part"), "wb", buffering=0) as f:
        f.write(body(100000))
        os.fsync(f.fileno())
        assert syncs()[-2:] == ["staged", "journal"]


def test_bytes_then_row_before_rename_returns(local, mount, watch):
    m = mount(local, upload="background")
    write(m.path("f.part"), body(100000))
    syncs = watch(m)
    os.rename(m.path("f.part"), m.path("f"))
    assert syncs()[:2] == ["staged", "journal"]
    wait("the upload", lambda: local.files() == ["f"])


def test_row_before_uploaded_bytes_change(local, mount, trace):
    """P1: the row that was sealed says that these bytes are the version in the bucket."""
    m = mount(local)
    log = trace(m, "fdatasync,pwrite64")

    def events():
        with open(log) as f:
            found = re.findall(r"(fdatasync|pwrite64)\(\d+<[^>]*/(staged|journal)", f.read())
        return [e for e in found if e != ("pwrite64", "journal")]

    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(100000, 1))
        os.close(os.open(m.path("f"), os.O_WRONLY))
        assert local.get("f") == body(100000, 1)
        before = len(events())
        f.seek(0)
        f.write(body(100000, 2))
        seen = events()[before:]
    first = seen.index(("pwrite64", "staged"))
    assert ("fdatasync", "journal") in seen[:first], seen


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def test_names_before_fsync_of_their_directory_returns(local, mount, watch):
    """P3: also what is only here, and once more where nothing came in between."""
    m = mount(local)
    write(m.path("f"), body(1000))
    write(m.path("a.part"), body(1000))
    syncs = watch(m)
    for change in (lambda: os.mkdir(m.path(".download_state")),
                   lambda: os.rename(m.path("a.part"), m.path("b.part")),
                   lambda: os.unlink(m.path("f")),
                   lambda: None):
        change()
        before = len(syncs())
        sync_directory(m.path())
        # Its own, and perhaps that of a removal which has just been answered.
        seen = syncs()[before:]
        assert seen and set(seen) == {"journal"}, seen


@pytest.mark.skipif(bool(lib.SANITIZER), reason="LeakSanitizer does not end under strace")
def test_what_was_sealed_is_not_synced_again(local, mount, watch):
    """As the cache's it is the same file; what was fetched is synced before its row."""
    m = mount(local)
    syncs = watch(m)
    write(m.path("written"), body(100000))
    m.umount()
    assert syncs(("staged", "blocks")) == ["staged"]
    local.put("fetched", body(100000))
    syncs = watch(m.mount())
    assert read(m.path("fetched")) == body(100000) == read(m.path("written"))
    m.umount()
    assert syncs(("staged", "blocks")) == ["blocks"]


def test_row_of_the_copy_before_its_source_goes(s3d, mount, trace):
    """Removed and renamed over: the journal says of the new name that what carries the tag of
    the copy is to go, until it durably says that the old one is."""
    m = mount(s3d)
    log = trace(m, "fsync,fdatasync,sendto,sendmsg,write,writev")

    def events():
        with open(log) as f:
            found = re.findall(r'fdatasync\(\d+<[^>]*/(journal)|"(PUT|DELETE) ', f.read())
        return [journal or method for journal, method in found]

    for n in range(10):
        write(m.path("a%d" % n), body(1000))
        write(m.path("b%d" % n), body(2000))
        before = len(events())
        os.unlink(m.path("b%d" % n))
        os.rename(m.path("a%d" % n), m.path("b%d" % n))
        seen = events()[before:]
        if seen.index("PUT") < seen.index("DELETE"):
            break  # else the removal had gone before the rename came
    assert "journal" in seen[seen.index("PUT"):seen.index("DELETE")], seen
    assert read(m.path("b%d" % n)) == body(1000)


@pytest.mark.skipif(bool(lib.SANITIZER), reason="LeakSanitizer does not end under strace")
def test_slow_disk_leaves_threads_to_readers(s3d, mount, trace):
    """P8: a close may wait for the disk on a thread that answers the kernel, but never on all
    of them."""
    count, closed = 12, []
    s3d.put("r", b"read")
    m = mount(s3d, upload="background", max_threads=4)
    trace(m, "fdatasync", "-e", "inject=fdatasync:delay_enter=3000000")

    def save(n):
        write(m.path("w%d" % n), b"x")
        closed.append(n)
    writers = [threading.Thread(target=save, args=(n,)) for n in range(count)]
    for w in writers:
        w.start()
    wait("all of them are there", lambda: len(os.listdir(m.point)) == count + 1)
    assert read(m.path("r")) == b"read" and not closed
    for w in writers:
        w.join()
    assert sorted(closed) == list(range(count))
