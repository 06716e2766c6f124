"""P3 against a loss of power: what has been acknowledged was synced first, bytes before the
row that names them.  kill -9 does not lose what the kernel has, so the calls are watched."""
import errno
import glob
import json
import os
import re
import subprocess
import sys
import threading

import pytest

import lib
from lib import body, read, wait, write


@pytest.fixture
def trace(folder):
    """trace(mount, calls): from here on these calls of the daemon are noted; the file."""
    lib.need_program("strace")
    log, started = os.path.join(folder, "strace"), []

    def start(m, calls="fsync,fdatasync", *more):
        # Each thread waits for the tracer, so its line is there before the call returns.
        tracer = subprocess.Popen(["strace", "-f", "-y", "-e", "trace=" + calls, *more,
                                   "-o", log, "-p", str(m.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
        started.append(tracer)
        line = tracer.stderr.readline()
        if "attached" not in line:
            lib.missing("strace does not attach: " + line)
        return log

    def end():
        while started:
            tracer = started.pop()
            tracer.terminate()
            tracer.wait()
    start.end = end
    yield start
    end()


@pytest.fixture
def watch(trace):
    """watch(mount): from here on each sync of the daemon is noted; syncs() tells which."""
    def start(m):
        log = trace(m)

        def syncs(words=("staged", "names", "journal")):
            """staged: a file's bytes; names: that it is there; journal: a row; blocks: what
            the cache has."""
            parts = {"staged": "/staged/", "names": "/staged>", "journal": "/journal",
                     "blocks": "/blocks"}
            with open(log) as f:
                found = re.findall(r"f(?:data)?sync\(\d+<([^>]*>)", f.read())
            return [w for path in found for w in words if parts[w] in path]
        return syncs
    return start


def test_bytes_then_row_before_close_returns(local, mount, watch):
    m = mount(local, upload="background")
    syncs = watch(m)
    for n in range(3):
        with open(m.path("f%d" % n), "wb", buffering=0) as f:
            f.write(body(100000, n))
            before = len(syncs())
        assert syncs()[before:before + 3] == ["staged", "names", "journal"]


def test_bytes_then_row_before_fsync_returns(local, mount, watch):
    m = mount(local)
    syncs = watch(m)
    with open(m.path("f.part"), "wb", buffering=0) as f:
        f.write(body(100000))
        os.fsync(f.fileno())
        assert syncs()[-3:] == ["staged", "names", "journal"]
        os.fsync(f.fileno())
        assert syncs()[-2:] == ["staged", "journal"], "its name is there already"


def test_bytes_then_row_before_rename_returns(local, mount, watch):
    m = mount(local, upload="background")
    write(m.path("f.part"), body(100000))
    syncs = watch(m)
    os.rename(m.path("f.part"), m.path("f"))
    assert syncs()[:3] == ["staged", "names", "journal"]
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


class Elsewhere:
    """Has the file open in a process of its own: to start strace in the one that has would
    close it there once, and that uploads it."""
    CODE = ("import os, sys\nfd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
            "for line in sys.stdin:\n try:\n  exec(line)\n  print(0, flush=True)\n"
            " except OSError as err:\n  print(err.errno, flush=True)\n")

    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, path], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def do(self, code, want=0):
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        assert int(self.process.stdout.readline()) == want, code

    def end(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def elsewhere():
    started = []

    def start(path):
        started.append(Elsewhere(path))
        return started[-1].do
    yield start
    for e in started:
        e.end()


def fail_sync(m, trace):
    """Of the one staged file, the next one."""
    path, = glob.glob(os.path.join(m.cache, "*", "staged", "*"))
    trace(m, "fdatasync", "-P", path, "-e", "inject=fdatasync:error=EIO:when=1")


@pytest.mark.parametrize("call", ["close", "fsync"])
def test_failed_sync_is_not_believed_later(s3d, mount, trace, elsewhere, call):
    """P3, P9: the disk lost bytes, and the next sync says that all is well.  The file is
    neither uploaded by this mount nor by the next, until it is written anew."""
    s3d.put("f", b"old")
    m = mount(s3d)
    do = elsewhere(m.path("f"))
    do("os.write(fd, bytes(50000))")
    do("os.fsync(fd)")
    do("os.write(fd, bytes(50000))")
    fail_sync(m, trace)
    if call == "fsync":
        do("os.fsync(fd)", errno.EIO)
    do("os.close(fd)", errno.EIO)
    trace.end()
    m.umount()
    m.mount()
    assert s3d.get("f") == b"old", "what the disk may have lost is in the bucket"
    assert json.loads(m.run("status", "--json", m.point).stdout)["files_failed"] == 1
    write(m.path("f"), body(70000, 3))
    assert s3d.get("f") == body(70000, 3)


def test_failed_sync_is_mended_by_writing_again(s3d, mount, trace, elsewhere):
    m = mount(s3d)
    do = elsewhere(m.path("f"))
    do("os.write(fd, bytes(50000))")
    fail_sync(m, trace)
    do("os.fsync(fd)", errno.EIO)
    do("os.fsync(fd)", errno.EIO)
    do("os.pwrite(fd, bytes(50000), 0)")
    do("os.fsync(fd)")
    do("os.close(fd)")
    assert s3d.get("f") == bytes(50000)
