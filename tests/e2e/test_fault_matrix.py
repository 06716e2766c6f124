"""Every fault (faultlist.py) in the way of every operation (faultcells.py): right bytes or a
documented errno by the deadline, no success that the commit log does not know, and when the
fault is lifted all is right (P1, P2, P4, P8, P10).

MASTFS_SHARE=1 runs every cell, else there are others each day, or by MASTFS_SEED.  A cell that
fails prints the line that runs it alone:
    MASTFS_SEED=1 MASTFS_CELL='F16 500 | put | once' tests/run fault_matrix
"""
import os
import random
import re
import threading
import time
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

import faultcells
import faultlist
import front
import lib
import s3ctl
from lib import PREFIX, body, port_of, read, same, through

SEED = lib.seed_of_the_day()
ONLY = os.environ.get("MASTFS_CELL", "")
SHARE = int(os.environ.get("MASTFS_SHARE", 2))  # one cell of so many; 1 = all
DEADLINE, GRACE = 5, 5  # seconds: the option read_timeout, and how late it may be
AT_ONCE, UPLOADS_AT_ONCE = 40, 4
REMOVERS = 8  # the daemon's threads that send DELETEs (cache/view.c)
OPTIONS = {"read_timeout": "%ds" % (DEADLINE * lib.SLOW), "uploaders": 64, "fetchers": 64,
           "max_threads": 64, "passthrough": "no", "ttl": "1h"}


def named(cells):
    found = [c for c in cells if not ONLY or ONLY == c.name or re.search(ONLY, c.name)]
    if not found:
        pytest.skip("no such cell here")
    return found


def wanted(cells):
    found = named(cells)
    if not ONLY:
        # Successive seeds have one share after the other, so that none is never run.
        found.sort(key=lambda c: zlib.crc32(c.name.encode()))
        found = found[SEED % min(SHARE, len(found))::SHARE]
    random.Random(SEED).shuffle(found)
    return found


def each(cells, call):
    """Uploads in parts apart: they need the processor, the others only wait."""
    parts = [c for c in cells if isinstance(c, faultcells.Parts)]
    rest = [c for c in cells if not isinstance(c, faultcells.Parts)]
    with ThreadPoolExecutor(AT_ONCE) as many, ThreadPoolExecutor(UPLOADS_AT_ONCE) as few:
        for done in [few.submit(call, c) for c in parts] + [many.submit(call, c) for c in rest]:
            done.result()


class Neighbour:
    """Reads what no fault concerns, all the time: the mount goes on for the others.

    Its reads have the bound of all.  A store that asks to slow down narrows the pool of
    connections, and of what is left the hung requests take nothing (http_pool.h)."""
    count = 100

    def __init__(self, store):
        self.slowest, self.error, self.over = 0, None, threading.Event()
        self.name = lambda n: "neighbour/%03d.fits" % (n % self.count)
        for n in range(self.count):
            store.put(self.name(n), body(3000, n))

    def run(self, mount):
        n = 0
        while not self.over.wait(0.2) and n < self.count:
            start = time.monotonic()
            try:
                same(read(mount.path(self.name(n))), body(3000, n))
            except (OSError, AssertionError) as err:
                self.error = err
            self.slowest, n = max(self.slowest, time.monotonic() - start), n + 1

    def watch(self, mount):
        self.thread = threading.Thread(target=self.run, args=(mount, ))
        self.thread.start()

    def end(self):
        self.over.set()
        self.thread.join()
        print("the neighbour's slowest read took %.1f s" % self.slowest)
        assert not self.error, self.error
        assert self.slowest < (DEADLINE + GRACE) * lib.SLOW, "%.1f s" % self.slowest


def by_folder(entries):
    found = defaultdict(list)
    for e in entries:
        where = re.search(PREFIX + r"(c[0-9a-f]{8})(/|$)", e["key"] or e.get("prefix", ""))
        if where:
            found[where.group(1)].append(e)
    return found


def complain(cells):
    lines = ["%s\n    MASTFS_SEED=%d MASTFS_CELL='%s' tests/run fault_matrix"
             % ("; ".join(c.problems), SEED, re.escape(c.name)) for c in cells if c.problems]
    slowest = max(cells, key=lambda c: c.secs)
    print("%d cells, MASTFS_SEED=%d; %.1f s for %s" % (
        len(cells), SEED, slowest.secs, slowest.name))
    assert not lines, "%d of %d cells:\n%s" % (len(lines), len(cells), "\n".join(lines))


def until_met(server, cells):
    """A DELETE goes out a second after the unlink; those that wait for their tries to be spent
    hold up others."""
    late = {c.folder for c in cells if c.follows and not c.error}
    end = time.monotonic() + (DEADLINE * (1 + len(late) / REMOVERS) + GRACE) * lib.SLOW
    while True:
        met = by_folder(server.log())
        late = {f for f in late if not any(r["act"] for r in met[f])}
        if not late or time.monotonic() > end:
            return met
        time.sleep(0.2)


def looked_after(cell, mount):
    try:
        cell.after(mount)
    except OSError as err:
        cell.check(False, "afterwards:", err)


def run(store, mount, server, cells):
    neighbour = Neighbour(store)
    each(cells, lambda cell: cell.prepare(store))
    m = mount(store, **OPTIONS)
    each(cells, lambda cell: cell.begin(m))
    for cell in cells:
        cell.arm(server)
    neighbour.watch(m)
    each(cells, lambda cell: cell.run(m))
    neighbour.end()
    met, commits = until_met(server, cells), by_folder(server.commits())
    for cell in cells:
        cell.judge((DEADLINE + GRACE) * lib.SLOW, met[cell.folder], commits[cell.folder])
    server.clear()
    each(cells, lambda cell: looked_after(cell, m))
    m.umount()
    commits, overlaps = by_folder(server.commits()), by_folder(server.overlaps())
    each(cells, lambda cell: cell.settled(store, commits[cell.folder]))
    for cell in cells:
        cell.check(not overlaps[cell.folder], "finished twice at a time")


@pytest.mark.skipif(bool(lib.SANITIZER), reason="the sample has some of them")
@pytest.mark.parametrize("family", faultlist.FAMILIES)
def test_each_fault_of(s3d, mount, family):
    cells = wanted(faultcells.cells(faultlist.FAMILIES[family], SEED))
    run(s3d, mount, s3d.server, cells)
    complain(cells)


@pytest.mark.short
@pytest.mark.skipif(not lib.SANITIZER, reason="each family has them")
def test_a_sample_of_all(s3d, mount):
    """For the thread sanitizer: one fault in six."""
    faults = [f for family in faultlist.FAMILIES.values() for f in family]
    cells = wanted(faultcells.cells(faults[::6], SEED))
    run(s3d, mount, s3d.server, cells)
    complain(cells)


def test_clock_that_jumps(s3d, mount):
    """F46, R9: an hour off either way, nothing fails."""
    fault = faultlist.Fault("F46 clock", {"kind": ""}, faultlist.ALL, lasting=faultlist.GOES)
    cells = wanted(faultcells.cells([fault], SEED))
    for cell in cells:
        cell.prepare(s3d)
    m = mount(s3d, **OPTIONS)
    each(cells, lambda cell: cell.begin(m))
    for cell, hours in zip(cells, (1, -1, 0, 2, -2, 3, 0) * 3):
        s3d.server.config(clock=3600 * hours)
        cell.run(m)
    for cell in cells:
        cell.judge((DEADLINE + GRACE) * lib.SLOW, None,
                   by_folder(s3d.server.commits())[cell.folder])
    s3d.server.config(clock=0)
    each(cells, lambda cell: looked_after(cell, m))
    m.umount()
    for cell in cells:
        cell.settled(s3d, by_folder(s3d.server.commits())[cell.folder])
    complain(cells)


def test_name_that_cannot_be_resolved(s3d, mount):
    """F15: the mount says so and ends; it does not wait for ever."""
    m = mount(through(s3d, "https://no-such-host.invalid"), start=False, require_backend="yes")
    with pytest.raises(AssertionError, match="mastfs mount ended with"):
        m.mount()
    assert "no-such-host.invalid" in m.log() or "resolve" in m.log()


@pytest.fixture
def trap():
    made = front.Trap()
    yield made
    made.stop()


@pytest.mark.skipif(bool(lib.SANITIZER), reason="the sample has some of them")
def test_redirects_are_not_followed(s3d, mount, trap):
    """F21, T3: no connection to where they point, and so no keys there."""
    cells = wanted(faultcells.cells(faultlist.redirects(trap.port, s3d.url), SEED))
    run(s3d, mount, s3d.server, cells)
    assert trap.visits == []
    complain(cells)


# --- the way to the store, for every connection ---

WAYS = {"F1 refused": "refuse", "F2 taken and silent": "silent", "F3 RST": "reset",
        "F11 512 kB/s": "capped", "F11 8 MB/s": "capped", "F12 late": "slow"}
TLS_WAYS = {"F14 expired": "expired", "F14 wrong host": "wrong_host",
            "F14 self-signed": "self_signed", "F14 unknown CA": "unknown_ca",
            "F14 TLS 1.1": "old", "F14 handshake stalls": "mute"}
OPS = tuple(op for op in faultlist.ALL if op not in ("finish", "moved"))  # others' requests
NARROW = ("F11 512 kB/s", "F12 late")  # a part takes longer than the deadline
WAY_DEADLINE = 3  # one way comes after the other
REFUSED = faultlist.SPENT | faultlist.REFUSED  # a certificate is refused, and that is final


def way_cells(name, goes, tls):
    may = faultlist.GOES if goes else REFUSED if tls else faultlist.SPENT
    fault = faultlist.Fault(name, {"kind": ""}, OPS, once=may, lasting=may)
    return [faultcells.OPS[op](fault, op, "lasting", SEED) for op in OPS
            if op != "part" or name not in NARROW]


def run_ways(s3d, mount, way, ways, **options):
    """One way after the other, in one mount; all operations at once in each."""
    cells = {name: way_cells(name, mode in ("capped", "slow"), way.certificates)
             for name, mode in ways.items()}
    every = named([cell for group in cells.values() for cell in group])
    for cell in every:
        cell.prepare(s3d)
    options = {**OPTIONS, "read_timeout": "%ds" % (WAY_DEADLINE * lib.SLOW), **options}
    m = mount(through(s3d, way.url), **options)
    for name, group in cells.items():
        group = [cell for cell in group if cell in every]
        each(group, lambda cell: cell.begin(m))
        way.be(ways[name], rate=(8 << 20 if "8 MB" in name else 512 << 10), delay=0.1)
        each(group, lambda cell: cell.run(m))
        lib.wait("each DELETE went that way", lambda: all(
            re.search("DELETE .*/%s/" % c.folder, m.log()) for c in group if c.follows))
        commits = by_folder(s3d.server.commits())
        way.be("good")
        for cell in group:
            cell.judge((WAY_DEADLINE + GRACE) * lib.SLOW, None, commits[cell.folder])
        each(group, lambda cell: looked_after(cell, m))
    m.umount()
    commits = by_folder(s3d.server.commits())
    for cell in every:
        cell.settled(s3d, commits[cell.folder])
    assert way.leaked == b""
    complain(every)


@pytest.mark.skipif(bool(lib.SANITIZER), reason="the sample has some of them")
def test_ways_that_are_bad(s3d, mount):
    way = front.Front(s3d.server.port)
    run_ways(s3d, mount, way, WAYS)
    way.stop()


@pytest.mark.skipif(bool(lib.SANITIZER), reason="the sample has some of them")
def test_tls_that_is_not_to_be_trusted(s3d, mount, folder):
    """F14, T2: refused, and not a byte of a request sent."""
    way = front.Front(s3d.server.port, front.Certificates(folder))
    run_ways(s3d, mount, way, TLS_WAYS, ca_file=way.certificates.ca)
    way.stop()


@pytest.mark.parametrize("mode", ["expired", "wrong_host", "self_signed", "unknown_ca", "old"])
def test_mount_over_bad_tls_is_refused(s3d, mount, folder, mode):
    way = front.Front(s3d.server.port, front.Certificates(folder))
    way.be(mode)
    m = mount(through(s3d, way.url), start=False, ca_file=way.certificates.ca,
              # a handshake that fails says nothing for certain
              require_backend="yes" if mode == "old" else "no")
    with pytest.raises(AssertionError, match="mastfs mount ended with"):
        m.mount()
    assert way.taken and way.leaked == b""
    way.stop()


# --- before a real server ---

SPOILED = [f for f in faultlist.MEANING if f.act["kind"] == "spoil"]
PROXIED = [f for f in faultlist.TRANSPORT + faultlist.STATUS + faultlist.SHAPE
           if f.act["kind"] != "forge" and not re.match(r"F33 gzip|F22|F32 CR", f.name)]


@pytest.fixture
def proxied(minio, folder):
    server = s3ctl.S3Proxy(folder, port_of(minio), bucket=minio.bucket)
    minio.server = server
    yield through(minio, server.url)
    server.stop()


@pytest.mark.skipif(bool(lib.SANITIZER), reason="the sample has some of them")
def test_the_same_lies_before_minio(proxied, mount):
    """The daemon and our server do not merely agree with each other: the answers that are
    bent here are a real server's."""
    ops = ("read", "list", "put", "copy", "delete")
    faults = [faultlist.Fault(f.name, f.act, tuple(o for o in f.ops if o in ops), f.once,
                              f.lasting, final=f.final) for f in PROXIED[::2] + SPOILED]
    cells = wanted(faultcells.cells([f for f in faults if f.ops], SEED))
    run(proxied, mount, proxied.server, cells)
    complain(cells)
