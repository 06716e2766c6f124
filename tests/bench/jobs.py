#!/usr/bin/python3
"""jobs.py - the programs of the rows: each runs in a process of its own (see work.py).

A job is a generator: what it does up to its first yield is preparation, then it is told to
go, and what it yields then is its result: start and end by the monotonic clock, and figures
by name; "limit" holds figures of the limit where that is measured in turns with the reads.
Bytes are compared with the local copy, after the clock stops where it would be disturbed.
"""
import hashlib
import json
import math
import mmap
import os
import random
import statistics
import sys
import threading
import time

import limits

MIB, BLOCK, READ = 1 << 20, 256 << 10, 64 << 10
now = time.monotonic


def result(start, **figures):
    end = now()
    return {"start": start, "end": end, **{"s": end - start, **figures}}


def percentile(values, share):
    """Nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def read_through(path):
    """The descriptor, at its end.  Into pages, as cp, cat and dd read: 16 bytes behind the
    start of one, where a bytearray begins, the kernel's copy alone takes 0.25 s of 500 MB in
    place of 0.08 s on AMD's (2026-11-27), from any file system."""
    buf = mmap.mmap(-1, MIB)
    f = open(path, "rb", buffering=0)
    while f.readinto(buf):
        pass
    return f


def must_equal(f, local):
    """Through the same descriptor, so that what the kernel kept of it is what is looked at."""
    f.seek(0)
    with open(local, "rb", buffering=0) as want:
        while data := want.read(MIB):
            got = b""
            while len(got) < len(data):
                more = f.read(len(data) - len(got))
                assert more, "the file is short"
                got += more
            assert got == data, "bytes differ before %d" % want.tell()
    assert not f.read(1), "the file is long"


def sequential(path, local):
    yield
    start = now()
    f = read_through(path)
    done = result(start)
    must_equal(f, local)
    yield done


def scan(path):
    import numpy
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        words = numpy.frombuffer(m, "<u8")
        total = int(words.sum())
        del words
    return total


def mmap_scan(path, want):
    import numpy  # noqa: F401 - not while the clock runs
    yield
    start = now()
    total = scan(path)
    done = result(start)
    assert total == want, "bytes differ: sum %d, should be %d" % (total, want)
    yield done


def offsets(local, count, seed):
    blocks = os.path.getsize(local) // BLOCK
    spots = random.Random(seed).sample(range(blocks), count)
    return [b * BLOCK + random.Random(b).randrange(BLOCK // READ) * READ for b in spots]


def pread_all(fd, size, off):
    got = os.pread(fd, size, off)
    while len(got) < size:
        more = os.pread(fd, size - len(got), off + len(got))
        assert more, "short at %d" % off
        got += more
    return got


def spread(times):
    return {"p50": percentile(times, .5), "p99": percentile(times, .99),
            "mean": statistics.mean(times)}


def random_reads(path, local, url, count, seed):
    """In turns with a GET of the block: both see the same moment."""
    warm, spots = limits.Warm(url), offsets(local, count, seed)
    mine, want = os.open(path, os.O_RDONLY), os.open(local, os.O_RDONLY)
    yield
    times, bare, start = [], [], now()
    for off in spots:
        t = now()
        got = pread_all(mine, READ, off)
        times.append((now() - t) * 1e3)
        bare.append(warm.get(off - off % BLOCK, BLOCK) * 1e3)
        assert got == os.pread(want, READ, off), "bytes differ at %d" % off
    yield {**result(start), **spread(times), "limit": spread(bare)}


def at_once(fd, spots, got):
    """A thread each, all let go together; the seconds until the last has its bytes."""
    gate = threading.Barrier(len(spots) + 1)

    def one(off):
        gate.wait()
        got[off] = pread_all(fd, READ, off)

    threads = [threading.Thread(target=one, args=(off,)) for off in spots]
    for t in threads:
        t.start()
    start = now()
    gate.wait()
    for t in threads:
        t.join()
    return now() - start


def together(path, local, url, count, seed):
    """Three times, at other places: the first two open connections and start threads."""
    spots, got = offsets(local, 3 * count, seed), {}
    fd, want = os.open(path, os.O_RDONLY), os.open(local, os.O_RDONLY)
    yield
    start = now()
    new = at_once(fd, spots[:count], got)
    at_once(fd, spots[count:2 * count], got)
    spots_warm = spots[2 * count:]
    warm = at_once(fd, spots_warm, got)
    done = result(start, s=warm, new_s=new)
    for off in spots:
        assert got[off] == os.pread(want, READ, off), "bytes differ at %d" % off
    done["limit"] = {"s": limits.warm_gets(url, [o - o % BLOCK for o in spots_warm], BLOCK)}
    yield done


def small_reads(path, count, seed):
    rng, pages = random.Random(seed), os.path.getsize(path) // 4096
    spots = [rng.randrange(pages) * 4096 for _ in range(count)]
    fd = os.open(path, os.O_RDONLY)
    start = now()
    for off in spots:
        os.pread(fd, 4096, off)
    secs = now() - start
    os.close(fd)
    return secs


def timed(call, *args):
    start = now()
    got = call(*args)
    return now() - start, got


def close_after(path):
    read_through(path).close()


def forget_pages(path):
    """The kernel's pages of the mount's file go, those of the disk below it stay."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def cached(path, local, times):
    """The file and its copy on the cache's disk in turns, each opened anew each time: what
    a new reader has.  Both have their pages in memory, but not twice."""
    import numpy  # noqa: F401
    want = scan(local)
    yield
    start, took = now(), {}
    sides = [("mine", path), ("limit", local)]
    for turn in range(times):
        for side, name in sides if turn % 2 else reversed(sides):
            for key, call, args in (("seq", close_after, ()), ("mmap", scan, ()),
                                    ("rand", small_reads, (20000, turn))):
                if side == "mine":
                    forget_pages(path)
                secs, got = timed(call, name, *args)
                assert key != "mmap" or got == want, "bytes differ"
                took.setdefault((side, key), []).append(secs)
    middle = {k: statistics.median(v) for k, v in took.items()}
    done = result(start, **{k: v for (side, k), v in middle.items() if side == "mine"})
    done["limit"] = {k: v for (side, k), v in middle.items() if side == "limit"}
    with open(path, "rb", buffering=0) as f:
        must_equal(f, local)
    yield done


def hashing(path, want):
    yield
    start, sha = now(), hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while data := f.read(MIB):
            sha.update(data)
    done = result(start)
    assert sha.hexdigest() == want, "bytes differ"
    yield done


def main():
    import fitsjobs
    import writejobs
    name, args = sys.argv[1], json.loads(sys.argv[2])
    call = globals().get(name) or getattr(fitsjobs, name, None) or getattr(writejobs, name)
    job = call(**args)
    next(job)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(next(job)), flush=True)


if __name__ == "__main__":
    main()
