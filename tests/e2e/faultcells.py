"""faultcells.py - one fault in the way of one operation: a cell of the matrix.

Each cell has a folder of its own in the bucket, and rules that match nothing else, so that
many run in one mount at the same time.  Its life: prepare() what is in the bucket, begin()
with what is not the fault's to meet, arm() the fault, act() through the mount, judge() what
came of it; then the fault is lifted for all, after() looks through the mount, and settled()
at the bucket when the daemon has left.
"""
import errno
import hashlib
import os
import re
import time

import lib
from lib import PREFIX, body, difference, pread

SMALL, READ, PARTS = 7000, 600000, (16 << 20) + 4097
NAMES = ["n%d" % n for n in range(5)]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def errnos(numbers):
    return "/".join(sorted(errno.errorcode.get(n, str(n)) for n in numbers)) or "success"


class Cell:
    asks = ()  # the server's words for the requests that are met
    tries = {"once": 1, "lasting": 0}
    brief = False  # it takes the processor or a thread for long: "lasting" for a few faults
    follows = False  # what is met goes out behind the caller's back

    def __init__(self, fault, op, mode, seed):
        self.fault, self.op, self.mode = fault, op, mode
        self.name = "%s | %s | %s" % (fault.name, op, mode)
        self.seed = int(sha(("%s %s" % (seed, self.name)).encode())[:8], 16)
        self.folder = "c%08x" % self.seed
        self.error, self.secs, self.problems = None, 0, []

    def key(self, name):
        return self.folder + "/" + name

    def body(self, size, no=0):
        return body(size, self.seed + no)

    def old(self):
        return self.body(SMALL)

    def check(self, right, *words):
        if not right:
            self.problems.append(" ".join(str(w) for w in words))

    def same(self, what, got, *wanted):
        text = [difference(got, w) if got is not None else "nothing" for w in wanted]
        self.check("" in text, what + ":", text[0] if text else "")

    def prepare(self, store):
        store.put(self.key("f"), self.old())

    def begin(self, mount):
        pass

    def arm(self, server):
        act = dict(self.fault.act)
        if act["kind"] in ("swap", "other"):
            act["from"] = PREFIX + self.key("g")
        server.rule(key="^%s/" % (PREFIX + self.folder), op=list(self.asks),
                    count=self.tries[self.mode], nth=self.fault.nth, **act)

    def run(self, mount):
        start = time.monotonic()
        try:
            self.act(mount)
        except OSError as err:
            self.error = err.errno
        self.secs = time.monotonic() - start

    def may(self):
        return self.fault.once if self.mode == "once" else self.fault.lasting

    def judge(self, most, met, commits):
        """most: seconds; met (None: no rule is in the way) and commits: what was asked for
        and done in this folder."""
        self.check(self.error is None or self.error in self.may(), "ended with",
                   errnos([self.error or 0]), "but may with", errnos(self.may()))
        self.check(self.secs < most, "took %.1f s" % self.secs)
        self.check(met is None or any(r["act"] for r in met), "the fault was never met:",
                   [r["op"] for r in met or ()])

    def after(self, mount):
        pass

    def settled(self, store, commits):
        """Whole or old: no commit in this folder is anything else (P4)."""
        known = {sha(data) for data in self.versions()}
        for c in commits:
            self.check(c["sha256"] is None or c["sha256"] in known,
                       "a version that nobody wrote:", c["op"], c["key"], c.get("size"))

    def versions(self):
        return [self.old()]

    def read(self, mount, name):
        return lib.read(mount.path(self.key(name)))


class Read(Cell):
    asks = ("get", )

    def old(self):
        return self.body(READ)

    def prepare(self, store):
        store.put(self.key("f"), self.body(READ, 1))
        store.put(self.key("f"), self.old())
        store.put(self.key("g"), self.body(READ, 2))

    def versions(self):
        return [self.body(READ, n) for n in range(3)]

    def act(self, mount):
        got = self.read(mount, "f")
        if not self.fault.limit:
            self.same("read", got, self.old())
        else:
            self.limit(got)

    def limit(self, got):
        """What is allowed to differ is what the fault did, and no more."""
        self.check(len(got) == READ, "read", len(got))
        lies = {"corrupt": lambda: sum(a != b for a, b in zip(got, self.old())) <= 3,
                "zero": lambda: all(a == b or not a for a, b in zip(got, self.old())),
                "other": lambda: mixed(got, self.old(), self.body(READ, 2)),
                "previous": lambda: mixed(got, self.old(), self.body(READ, 1))}
        self.check(lies[self.fault.act["kind"]](), "wrong bytes beyond the known limit")

    def after(self, mount):
        if not self.fault.limit:
            self.same("read afterwards", self.read(mount, "f"), self.old())

    def settled(self, store, commits):
        super().settled(store, commits)
        self.same("the object", store.get(self.key("f")), self.old())


def mixed(got, one, other):
    return all(got[n:n + 4096] in (one[n:n + 4096], other[n:n + 4096])
               for n in range(0, len(got), 4096))


class Pinned(Read):
    """Opened before the fault, and read on behind it (P1)."""
    size = 6 << 20

    def old(self):
        return self.body(self.size)

    def versions(self):
        return [self.old(), self.body(self.size, 2)]

    def prepare(self, store):
        store.put(self.key("f"), self.old())
        store.put(self.key("g"), self.body(self.size, 2))

    def arm(self, server):
        self.server = server

    def act(self, mount):
        with open(mount.path(self.key("f")), "rb", buffering=0) as f:
            self.same("first read", pread(f.fileno(), 4096, 0), self.old()[:4096])
            super().arm(self.server)
            at = self.size - (1 << 20)
            self.same("later read", pread(f.fileno(), 4096, at), self.old()[at:at + 4096])

    def after(self, mount):
        if self.fault.act["kind"] in ("swap", "vanish"):
            return  # within the ttl it is the old one or ESTALE
        super().after(mount)

    def settled(self, store, commits):
        Cell.settled(self, store, commits)
        now = store.get(self.key("f"))
        if self.fault.act["kind"] == "vanish":
            self.check(now is None, "it came back")
        else:
            self.same("the object", now, *self.versions())


class List(Cell):
    asks = ("list", )

    def prepare(self, store):
        for name in NAMES:
            store.put(self.key(name), self.body(50))

    def versions(self):
        return [self.body(50)]

    def act(self, mount):
        got = sorted(os.listdir(mount.path(self.folder)))
        self.check(got == NAMES or self.fault.limit, "listed", got)

    def after(self, mount):
        if not self.fault.limit:
            self.check(sorted(os.listdir(mount.path(self.folder))) == NAMES,
                       "not listed afterwards")

    def settled(self, store, commits):
        super().settled(store, commits)
        self.check(all(store.get(self.key(n)) == self.body(50) for n in NAMES), "gone")


class Stat(List):
    asks = ("list", "head")

    def act(self, mount):
        got = os.stat(mount.path(self.key(NAMES[2]))).st_size
        self.check(got == 50, "size", got)


class Fresh(Cell):
    """F47: what was written here is seen here for as long as the listing from before it is
    kept, which is the ttl: no other is asked for.  Later it is the server that is believed."""
    asks = ("list", )

    def prepare(self, store):
        store.put(self.key("f"), self.body(50))

    def versions(self):
        return [self.body(50), self.body(60)]

    def act(self, mount):
        os.listdir(mount.path(self.folder))
        lib.write(mount.path(self.key("new")), self.body(60))
        got = sorted(os.listdir(mount.path(self.folder)))
        self.check(got == ["f", "new"], "listed", got)
        self.same("read", self.read(mount, "new"), self.body(60))

    def judge(self, most, met, commits):
        super().judge(most, met, commits)
        done = [c["t"] for c in commits if c["key"].endswith("/new")]
        self.check(done and not [r for r in met if r["op"] == "list" and r["t0"] > done[0]],
                   "listed again within the ttl")

    def settled(self, store, commits):
        super().settled(store, commits)
        self.same("the object", store.get(self.key("new")), self.body(60))


class Put(Cell):
    """Over an object that is there: close tells the truth (P2), the old stays until then."""
    asks, size, written = ("put", ), 5000, False

    def new(self):
        return self.body(self.size, 7)

    def versions(self):
        return [self.old(), self.new()]

    def begin(self, mount):
        self.same("read first", self.read(mount, "f"), self.old())

    def act(self, mount):
        fd = os.open(mount.path(self.key("f")), os.O_WRONLY | os.O_TRUNC)
        try:
            view = memoryview(self.new())
            while view:
                view = view[os.write(fd, view):]
            self.written = True
        finally:
            os.close(fd)

    def judge(self, most, met, commits):
        """A success is one only if the commit log has it."""
        super().judge(most, met, commits)
        self.check(self.error or self.fault.limit or sha(self.new()) in [
            c.get("sha256") for c in commits],
                   "close returned 0, and the bucket had it not")

    def after(self, mount):
        self.same("read afterwards", self.read(mount, "f"), self.old(), self.new())

    def settled(self, store, commits):
        super().settled(store, commits)
        now = store.get(self.key("f"))
        if self.fault.limit or self.error == errno.ESTALE or not self.written:
            self.same("the object", now, self.old(), self.new())
        else:
            self.same("the object", now, self.new())


class Parts(Put):
    asks, size, brief = ("part", ), PARTS, True


class Begin(Parts):
    asks = ("begin", )


class Finish(Parts):
    asks = ("finish", )


class Download(Put):
    """The rename of a .part is what uploads it, and nobody sees it before (P6): it succeeds,
    or both names are what they were and it can be tried again."""
    brief = True

    def may(self):
        """The kernel would try again by itself after ESTALE."""
        may = super().may()
        return may | {errno.EBUSY} if errno.ESTALE in may else may

    def act(self, mount):
        lib.write(mount.path(self.key("f.part")), self.new())
        self.written = True
        self.rename(mount)

    def rename(self, mount):
        os.rename(mount.path(self.key("f.part")), mount.path(self.key("f")))

    def after(self, mount):
        if self.error:
            self.same("the .part", self.read(mount, "f.part"), self.new())
            self.same("the old one", self.read(mount, "f"), self.old())
            self.rename(mount)
        self.same("read afterwards", self.read(mount, "f"), self.new())
        self.check(os.listdir(mount.path(self.folder)) == ["f"], "not the new name alone")

    def settled(self, store, commits):
        Cell.settled(self, store, commits)
        self.same("the object", store.get(self.key("f")), self.new())
        self.check(not [c for c in commits if c["key"].endswith(".part")], "a .part went up")


class LongDownload(Download, Finish):
    asks, size = Finish.asks, Finish.size


class Copy(Cell):
    """A rename: both or the old, never neither (V9)."""
    asks = ("copy", )

    def begin(self, mount):
        self.same("read first", self.read(mount, "f"), self.old())

    def act(self, mount):
        os.rename(mount.path(self.key("f")), mount.path(self.key("to")))

    def after(self, mount):
        name = "f" if self.error else "to"
        self.same("read afterwards", self.read(mount, name), self.old())

    def settled(self, store, commits):
        super().settled(store, commits)
        here, there = store.get(self.key("f")), store.get(self.key("to"))
        if self.error:
            self.same("the object", here if here is not None else there, self.old())
        else:
            self.same("the object", there, self.old())
            self.check(here is None, "it is in both places")


class Delete(Cell):
    """unlink is done when it is journaled; the bucket follows, once it can.  If it refuses
    that, it is said and shown."""
    asks, follows = ("delete", ), True

    def begin(self, mount):
        self.same("read first", self.read(mount, "f"), self.old())

    def act(self, mount):
        os.unlink(mount.path(self.key("f")))

    def may(self):
        """It waits for no answer, or for the first, whatever that is."""
        return frozenset()

    def after(self, mount):
        there = os.path.exists(mount.path(self.key("f")))
        self.check(there == self.fault.final or self.fault.limit,
                   "it is there" if there else "it is hidden")
        self.check(not self.fault.final or re.search(
            r"error.*/%s/f: .*%s" % (self.folder, self.fault.act["code"]), mount.log()),
                   "nothing in the log")

    def settled(self, store, commits):
        super().settled(store, commits)
        now = store.get(self.key("f"))
        if self.fault.limit or self.fault.final:
            self.same("the object", now, self.old())
        else:
            self.check(now is None, "it came back")


class Moved(Delete):
    """A rename's second half: it succeeds, and the old name goes when that can be; until then
    there are both (P4)."""
    brief = True

    def act(self, mount):
        os.rename(mount.path(self.key("f")), mount.path(self.key("to")))

    def after(self, mount):
        super().after(mount)
        self.same("read afterwards", self.read(mount, "to"), self.old())

    def settled(self, store, commits):
        super().settled(store, commits)
        self.same("the new name", store.get(self.key("to")), self.old())
        done = [c["op"] for c in commits if c["op"] in ("copy", "delete")]
        self.check(done in (["copy"], ["copy", "delete"]), "done:", done)


OPS = {"read": Read, "pinned": Pinned, "list": List, "stat": Stat, "fresh": Fresh,
       "put": Put, "part": Parts, "begin": Begin, "finish": Finish, "copy": Copy,
       "download": Download, "long_download": LongDownload, "moved": Moved, "delete": Delete}


# Of what is brief, these last.
LASTING = ("F3 ", "F16 500", "F23 403", "F28 error", "F31 two", "F42 done, and no", "F43",
           "F44")


def of(fault, op, seed):
    brief = OPS[op].brief and not fault.name.startswith(LASTING)
    return [OPS[op](fault, op, mode, seed)
            for mode in (("once", ) if brief else ("once", "lasting"))]


def cells(faults, seed):
    return [cell for fault in faults for op in fault.ops for cell in of(fault, op, seed)]
