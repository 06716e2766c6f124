"""Complete files are read by the kernel itself: past the daemon, the right bytes, and nobody
notices when a name is written, replaced or removed meanwhile."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import subprocess
import sys
import threading

import pytest

import lib
from lib import body, fails, read, same, wait, write

SIZE = (12 << 20) + 1234
PIECE = 256 << 10  # one request of the kernel, so that nothing is fetched ahead of it
IO = "user.mastfs.io"


def cached(m, name):
    return int(os.getxattr(m.path(name), "user.mastfs.cached"))


def mode(m, name):
    return os.getxattr(m.path(name), IO).decode()


def bytes_read(m):
    """By the daemon: from its cache, for somebody."""
    with open("/proc/%d/io" % m.process.pid) as f:
        return int(f.readline().split()[1])


def gets(s3d):
    return [r for r in s3d.server.new("GET") if r["key"] and "Boto" not in (r["agent"] or "")]


def reads_whole_pieces(m):
    """The mount's read-ahead is raised, by whoever mounted it: until then the kernel cuts a
    PIECE in two, which is a stream to the daemon."""
    dev = os.stat(m.point).st_dev
    path = "/sys/class/bdi/%d:%d/read_ahead_kb" % (os.major(dev), os.minor(dev))
    wait("the read-ahead is raised",
         lambda: os.getuid() or int(read(path)) << 10 >= PIECE)
    return m


def complete(m, name, want):
    """All of it is here, and nobody has it open."""
    same(read(m.path(name)), want)
    wait("the file is released", lambda: mode(m, name) == "none")


@pytest.fixture
def data():
    return body(SIZE, 1)


@pytest.fixture
def whole(s3d, mount, data):
    """A mount with the complete file f."""
    s3d.put("f", data)
    m = mount(s3d)
    complete(m, "f", data)
    return m


def test_the_kernel_reads_a_complete_file_itself(whole, data):
    before = bytes_read(whole)
    with open(whole.path("f"), "rb") as f:
        assert mode(whole, "f") == "passthrough"
        same(f.read(), data)
        with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            same(mapped[:], data)
        for off in (0, 5000, SIZE - 10):
            same(os.pread(f.fileno(), 4096, off), data[off:off + 4096])
        assert os.fstat(f.fileno()).st_size == SIZE
    assert bytes_read(whole) - before < 1 << 20


def test_it_can_be_turned_off(s3d, mount, data):
    """The counter of the test above sees what it should."""
    s3d.put("f", data)
    m = mount(s3d, passthrough="no")
    complete(m, "f", data)
    before = bytes_read(m)
    with open(m.path("f"), "rb") as f:
        assert mode(m, "f") == "cached"
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        same(f.read(), data)
    assert bytes_read(m) - before >= SIZE


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "rb") as f:
    try:
        fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(0)
sys.exit(1)
"""


def test_with_it_turned_off_locks_keep_a_writer_out(s3d, mount, data):
    s3d.put("f", data)
    m = mount(s3d, passthrough="no")
    complete(m, "f", data)
    with open(m.path("f"), "rb") as f, open(m.path("f"), "r+b") as g:
        fcntl.flock(f, fcntl.LOCK_EX)
        fails(errno.EAGAIN, fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(f, fcntl.LOCK_UN)
        fcntl.lockf(g, fcntl.LOCK_EX)
        with subprocess.Popen([sys.executable, "-c", LOCKED, m.path("f")]) as other:
            assert other.wait() == 0


ROOTLESS = """
set -e
"$MASTFS" mount "$SOURCE" "$POINT" -o cache_dir="$CACHE",log_file="$LOG"
cmp "$POINT/f" "$SAME"
sleep 1
cmp "$POINT/f" "$SAME"
cmp "$POINT/f" "$SAME"
"$MASTFS" umount "$POINT"
"""


def test_without_privilege_it_turns_itself_off(s3d, mount, data):
    """As in a rootless container: who may mount may not name files to the kernel."""
    if subprocess.run(["unshare", "-Urm", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no user namespaces here")
    s3d.put("f", data)
    m = mount(s3d, start=False)
    same_file = os.path.join(m.folder, "same")
    write(same_file, data)
    env = {**m.env(), "MASTFS": lib.MASTFS, "SOURCE": s3d.source, "POINT": m.point,
           "CACHE": m.cache, "LOG": m.log_path, "SAME": same_file}
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", ROOTLESS], env=env, timeout=100,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr + m.tail()
    assert m.log().count("read through the daemon, not by the kernel itself") == 1


def test_many_open_it_at_once(whole, data):
    """They share one backing file: another id would be EBUSY, and EIO for the user."""
    errors = []

    def look():
        try:
            for _ in range(50):
                with open(whole.path("f"), "rb", buffering=0) as f:
                    same(f.read(70000), data[:70000])
        except Exception as err:  # whatever it is, the test must see it
            errors.append(err)
    threads = [threading.Thread(target=look) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
    wait("all are released", lambda: mode(whole, "f") == "none")


def test_what_completes_while_it_is_open_stays_cached(s3d, mount, data):
    s3d.put("f", data)
    m = mount(s3d)
    with open(m.path("f"), "rb", buffering=0) as f:
        same(os.pread(f.fileno(), 100, 0), data[:100])
        assert mode(m, "f") == "cached"
        same(read(m.path("f")), data)
        assert cached(m, "f") == SIZE
        with open(m.path("f"), "rb") as g:
            assert mode(m, "f") == "cached"
            same(g.read(), data)
        same(f.read(), data)
    wait("it is released", lambda: mode(m, "f") == "none")
    with open(m.path("f"), "rb"):
        assert mode(m, "f") == "passthrough"


# What somebody does to the name, and what it holds then (None: nothing).

def change_in_place(path, data):
    with open(path, "r+b") as f:
        f.seek(1000)
        f.write(b"new")
    return data[:1000] + b"new" + data[1003:]


def append(path, data):
    write(path, b"more", "ab")
    return data + b"more"


def empty(path, data):
    write(path, b"short")
    return b"short"


def truncate(path, data):
    os.truncate(path, 70000)
    return data[:70000]


def replace(path, data):
    write(path + ".tmp", b"other" * 1000)
    os.rename(path + ".tmp", path)
    return b"other" * 1000


def unlink(path, data):
    os.unlink(path)


def recreate(path, data):
    os.unlink(path)
    write(path, b"again")
    return b"again"


def touch(path, data):
    os.utime(path, (1, 1))
    return data


def move(path, data):
    os.rename(path, path + ".moved.fits")


@pytest.mark.parametrize("change", [change_in_place, append, empty, truncate, replace, unlink,
                                    recreate, touch, move])
def test_a_reader_keeps_its_bytes_while_the_name_changes(whole, s3d, data, change):
    """P1, and no EIO for whoever changes it."""
    path = whole.path("f")
    with open(path, "rb") as f, open(path, "rb") as g:
        mapped = mmap.mmap(g.fileno(), 0, prot=mmap.PROT_READ)
        assert mode(whole, "f") == "passthrough"
        want = change(path, data)
        same(f.read(), data)
        same(mapped[:], data)
        if want is None:
            fails(errno.ENOENT, os.stat, path)
        else:
            same(read(path), want)
            assert os.stat(path).st_size == len(want)
        mapped.close()
    if want is not None:
        wait("it is in the bucket", lambda: s3d.get("f") == want)
        complete(whole, "f", want)
        with open(path, "rb") as f:
            same(f.read(), want)
    elif change is move:
        same(read(path + ".moved.fits"), data)


def test_a_writer_gets_in_past_many_readers(whole, data):
    """Never ESTALE, never EIO, whenever readers open it in between."""
    path, errors, stop = whole.path("f"), [], threading.Event()

    def look():
        try:
            while not stop.is_set():
                with open(path, "rb", buffering=0) as f:
                    assert len(f.read(10)) == 10
        except Exception as err:  # whatever it is, the test must see it
            errors.append(err)
    threads = [threading.Thread(target=look) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for k in range(20):
            with open(path, "r+b") as f:
                f.write(b"%010d" % k)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors
    same(read(path), b"%010d" % 19 + data[10:])


def test_a_version_replaced_in_the_bucket(s3d, mount, data):
    """P1: who has it open keeps its bytes, who opens it gets the new."""
    s3d.put("f", data)
    m = mount(s3d, ttl=0)
    complete(m, "f", data)
    other = body(SIZE, 2)
    with open(m.path("f"), "rb") as f:
        assert mode(m, "f") == "passthrough"
        s3d.put("f", other)
        same(read(m.path("f")), other)
        same(f.read(), data)
    complete(m, "f", other)
    with open(m.path("f"), "rb") as f:
        assert mode(m, "f") == "passthrough"
        same(f.read(), other)


def test_eviction_leaves_what_the_kernel_reads(s3d, mount, data):
    s3d.put("f", data)
    for k in range(10):
        s3d.put("g%d" % k, body(10 << 20, 10 + k))
    m = mount(s3d, cache_size="32M")
    complete(m, "f", data)
    with open(m.path("f"), "rb") as f:
        assert mode(m, "f") == "passthrough"
        for k in range(5):
            same(read(m.path("g%d" % k)), body(10 << 20, 10 + k))
        assert cached(m, "f") == SIZE
        same(f.read(), data)
        assert m.disk() < 36 << 20
    wait("it is released", lambda: mode(m, "f") == "none")
    for k in range(5, 10):
        same(read(m.path("g%d" % k)), body(10 << 20, 10 + k))
    assert cached(m, "f") < SIZE
    same(read(m.path("f")), data)


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Mapped:
    """A mapping whose descriptor is closed, as ds9 has it: the kernel keeps the data file
    then, and none of ours.  Python's own keeps a descriptor."""

    def __init__(self, path, size):
        fd, self.size = os.open(path, os.O_RDONLY), size
        self.at = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        os.close(fd)
        assert self.at != ctypes.c_void_p(-1).value

    def read(self):
        return ctypes.string_at(self.at, self.size)

    def close(self):
        LIBC.munmap(self.at, self.size)


@pytest.mark.parametrize("name", ("f", "f.fits"))
def test_eviction_leaves_what_is_mapped_without_a_descriptor(s3d, mount, data, name):
    """P1: RELEASE came with the close; what is punched out of the file would be zeros."""
    s3d.put(name, data)
    for k in range(10):
        s3d.put("g%d" % k, body(10 << 20, 10 + k))
    m = mount(s3d, cache_size="32M")
    complete(m, name, data)
    mapped = Mapped(m.path(name), SIZE)
    wait("it is released", lambda: mode(m, name) == "none")
    for k in range(10):
        same(read(m.path("g%d" % k)), body(10 << 20, 10 + k))
    same(mapped.read(), data)
    assert m.disk() < 36 << 20
    m.kill()  # the mapping outlives the daemon
    m.mount()
    for k in range(10):
        same(read(m.path("g%d" % k)), body(10 << 20, 10 + k))
    same(mapped.read(), data)
    mapped.close()
    for k in range(10):
        same(read(m.path("g%d" % k)), body(10 << 20, 10 + k))
    assert cached(m, name) < SIZE
    same(read(m.path(name)), data)


def test_after_a_restart_it_is_verified_first(whole, s3d, data):
    """blocks (2): 12 MB in the background, for the next open."""
    s3d.put("small", data[:1 << 20])
    complete(whole, "small", data[:1 << 20])
    whole.remount()
    s3d.server.mark()
    with open(whole.path("small"), "rb") as f:
        assert mode(whole, "small") == "passthrough"
        same(f.read(), data[:1 << 20])

    def passes():
        with open(whole.path("f"), "rb") as f:
            same(f.read(), data)
            return mode(whole, "f") == "passthrough"
    wait("it is verified", passes)
    assert gets(s3d) == []


def test_flipped_bytes_are_not_passed(whole, s3d, data):
    whole.umount()
    for folder, _, files in os.walk(os.path.join(whole.cache)):
        for name in files if "/blocks" in folder else ():
            with open(os.path.join(folder, name), "r+b") as f:
                f.seek(5 << 20)
                f.write(b"flipped")
    whole.mount()
    for _ in range(3):
        complete(whole, "f", data)
    with open(whole.path("f"), "rb") as f:
        same(f.read(), data)


def test_the_page_cache_is_kept_of_what_is_not_complete(s3d, mount):
    """A second open and read of the same bytes is none of the daemon's business."""
    size = 64 << 20
    want, offs = body(size, 3), random.Random(1).sample(range(0, size, 2 * PIECE), 40)
    s3d.put("f", want)
    m = reads_whole_pieces(mount(s3d, fill="no"))

    def look():
        with open(m.path("f"), "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for off in offs:
                same(os.pread(f.fileno(), PIECE, off), want[off:off + PIECE])
            assert mode(m, "f") == "cached"
        wait("the file is released", lambda: mode(m, "f") == "none")
    look()
    before = bytes_read(m)
    look()
    assert cached(m, "f") < size
    # Its own threads may look at a block or two, and the index reads its pages.
    assert bytes_read(m) - before < 8 * PIECE


def test_astropy_reads_it(s3d, mount):
    """Opened twice, mapped whole."""
    fits = pytest.importorskip("astropy.io.fits")
    import io
    import numpy
    array = numpy.arange(1000000, dtype="f4").reshape(1000, 1000)
    raw = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(array, name="SCI")]).writeto(raw)
    s3d.put("a.fits", raw.getvalue())
    m = mount(s3d)
    complete(m, "a.fits", raw.getvalue())
    before = bytes_read(m)
    with fits.open(m.path("a.fits")) as hdus:
        assert (hdus["SCI"].data == array).all()
        assert mode(m, "a.fits") == "passthrough"
    assert bytes_read(m) - before < 1 << 20


# --- fill ---

@pytest.mark.parametrize("fill", ["yes", "no"])
def test_fill_completes_what_is_mostly_read(s3d, mount, fill):
    """A third of the file: the rest comes without anybody asking, each byte once."""
    size = 64 << 20
    want = body(size, 3)
    s3d.put("f", want)
    m = reads_whole_pieces(mount(s3d, fill=fill))
    # Here and there, so that nothing is fetched ahead.
    offs = random.Random(1).sample(range(0, size, 2 * PIECE), 90)
    with open(m.path("f"), "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for off in offs:
            same(os.pread(f.fileno(), PIECE, off), want[off:off + PIECE])
    if fill == "yes":
        wait("it is complete", lambda: cached(m, "f") == size)
        # A GET that is late on a busy machine is asked once more while it is under way; what
        # has come is not asked for again.
        asked = {}
        for r in sorted(gets(s3d), key=lambda r: r["t0"]):
            asked.setdefault(tuple(map(int, r["range"][len("bytes="):].split("-"))), []).append(r)
        assert sum(end + 1 - off for off, end in asked) == size
        for first, *more in asked.values():
            assert len(more) < 2 and all(r["t0"] < (first["t1"] or r["t1"]) for r in more)
        wait("it is released", lambda: mode(m, "f") == "none")
        with open(m.path("f"), "rb"):
            assert mode(m, "f") == "passthrough"
    else:
        assert cached(m, "f") < size


def test_a_header_does_not_bring_the_file(s3d, mount):
    size = 64 << 20
    s3d.put("f", body(size, 3))
    m = mount(s3d)
    for _ in range(5):
        with open(m.path("f"), "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            same(os.pread(f.fileno(), 2880, 0), body(size, 3)[:2880])
    # Longer than it is quiet after a read: by then it would have begun.
    threading.Event().wait(1)
    assert sum(r["sent"] for r in gets(s3d)) <= 1 << 20
