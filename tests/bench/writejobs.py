"""writejobs.py - the programs that write (see jobs.py).

Bytes come from a local copy, read before the clock starts, so that only the writing is
timed.  Nothing here looks at the bucket: the rows do, behind the link.
"""
import os
import subprocess
import sys
import tempfile
import time

import limits

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
now = time.monotonic


def appends(path, local, step):
    """The chunked downloader: appends to name.part, then the rename."""
    with open(local, "rb") as f:
        data = f.read()
    yield
    start = now()
    with open(path + ".part", "ab", buffering=0) as out:
        for off in range(0, len(data), step):
            piece = memoryview(data)[off:off + step]
            while piece:
                piece = piece[out.write(piece):]
    rename = now()
    os.rename(path + ".part", path)
    end = now()
    yield {"start": start, "rename": rename, "end": end}


def closes(folder, urls, size):
    """In turns with a bare PUT of as many bytes: both see the same moment."""
    warm, data = limits.WarmPut(urls), os.urandom(size)
    with open(os.path.join(folder, "first"), "wb") as f:
        f.write(data)
    yield
    took, bare, start = [], [], now()
    for n in range(len(urls)):
        f = open(os.path.join(folder, "close%d" % n), "wb", buffering=0)
        f.write(data)
        t = now()
        f.close()
        took.append((now() - t) * 1e3)
        bare.append(warm.put(n, data) * 1e3)
    yield {"start": start, "end": now(), "took": took, "bare": bare, "hex": data.hex()}


def small_files(folder, count, size):
    """All of them one after the other; the bucket has them later."""
    data = [n.to_bytes(8, "little") * (size // 8) for n in range(count)]
    yield
    start = now()
    for n in range(count):
        with open(os.path.join(folder, "many%d" % n), "wb", buffering=0) as f:
            f.write(data[n])
    yield {"start": start, "end": now()}


def table(path, local, program, action, times):
    """The mount and the local disk in turns; a file's bytes are safe when its turn ends."""
    yield
    took, start = {"mine": [], "limit": []}, now()
    for turn in range(times):
        sides = [("mine", "%s%d" % (path, turn)), ("limit", "%s%d" % (local, turn))]
        for side, name in sides if turn % 2 else reversed(sides):
            t = now()
            subprocess.run([program, action, name], check=True)
            fd = os.open(name, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            took[side].append(now() - t)
    end = now()
    with open(path + "0", "rb") as a, open(local + "0", "rb") as b:
        assert a.read() == b.read(), "bytes differ"
    yield {"start": start, "end": end, **{k: sorted(v)[len(v) // 2] for k, v in took.items()}}


def replay(folder):
    """replay.py checks what it reads, and counts all that is there: other rows' files, too."""
    folder = tempfile.mkdtemp(prefix="replay-", dir=folder)
    yield
    start = now()
    done = subprocess.run([sys.executable, os.path.join(TESTS, "tools", "replay.py"), folder],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = now()
    assert done.returncode == 0, done.stderr[-300:]
    yield {"start": start, "end": end, "s": end - start}
