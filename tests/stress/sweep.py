"""sweep.py - one script of operations, broken off at each system call that makes it durable.

strace stands between the daemon and the kernel: at the n-th call of a kind it kills the
daemon, or the call fails, or does nothing.  It counts in each thread by itself, so the n-th
call is that of the thread that is the first to come so far.
"""
import collections
import glob
import os
import random
import re
import shutil
import threading
import time

import lib
from oracle import Broken
from watched import Watched

# 30 operations (writer.py): each kind of change, over what others left behind.  With this seed
# each has something to do: what is touched and one of the files in the directory that is moved
# are still growing, and what is copied is so to a new name and to one that is there.
SCRIPT = ("mkdir write write append part part touch finish write rename copy truncate unlink "
          "write part finish sync rename unlink mkdir write move truncate finish copy unlink "
          "rmdir part large write").split()
SCRIPT_SEED = 484
# The calls by which a disk is changed, or the bucket is told something.
CALLS = ("openat", "pwrite64", "write", "fdatasync", "fsync", "rename", "renameat", "renameat2",
         "unlink", "unlinkat", "ftruncate", "fallocate", "mkdir", "mkdirat", "copy_file_range",
         "sync_file_range", "utimensat", "sendto", "sendmsg", "writev")
# A short write is one of nothing, and the next begins where it did: strace can leave a call
# out or answer for it, but not do half of it.
# writev answers the kernel, which waits for ever for an answer that was refused.
KINDS = {"kill": ("signal=KILL", CALLS), "EIO": ("error=EIO", [c for c in CALLS if c != "writev"]),
         "short": ("retval=0", ("pwrite64", "write")),
         "ENOSPC": ("error=ENOSPC", (
             "openat", "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "fallocate",
             "mkdir", "mkdirat", "copy_file_range"))}
REMOUNT_SECS, RUN_SECS = 5, 60
OPTIONS = {"max_threads": 2, "uploaders": 1, "fetchers": 1, "drain": "60s", "log_level": "info",
           "cache_size": "1G", "staging_size": "1G"}


def strace(out, calls, inject=None):
    """The first words of a command; the daemon is the child of who starts it.  Not with
    --seccomp-bpf, which is faster: with that most of what is to be injected is not."""
    words = ["strace", "-D", "-f", "-qq", "-o", out, "-e", "signal=none",
             "-e", "trace=" + calls]
    return words + (["-e", "inject=%s:%s" % (calls, inject)] if inject else [])


class Point:
    """The n-th call, and what becomes of it."""

    def __init__(self, call, kind, n):
        self.call, self.kind, self.n = call, kind, n

    def __str__(self):
        return "%s:%s:%d" % (self.call, self.kind, self.n)

    @classmethod
    def of(cls, text):
        call, kind, n = text.split(":")
        return cls(call, kind, int(n))

    def inject(self):
        return "%s:when=%d" % (KINDS[self.kind][0], self.n)


class Sweep:
    """folder: each run's own directory is made in it, and stays if the run fails.
    store: an s3d of ours alone, that writes its commits to the file commits."""

    def __init__(self, folder, store, commits, upload):
        self.folder, self.store, self.upload = folder, store, upload
        self.commits, self.count, self.runs = commits, collections.Counter(), 0

    def run_one(self, point, wrap):
        self.runs += 1
        place = os.path.join(self.folder, "run%d" % self.runs)
        os.mkdir(place)
        run = Run(place, self.store, self.commits, self.upload, point, wrap)
        try:
            run.run()
        finally:
            run.stop()
            run.mount.force_out()
        self.count[point.kind if point else "none"] += 1
        self.count["ended"] += run.ended
        self.count["acknowledged"] += run.oracle.acknowledged
        self.count["failed"] += run.oracle.failed
        shutil.rmtree(place)
        return run

    def points(self, every=1, seed=0):
        """What a run without faults calls, in the thread that does it most often."""
        out = os.path.join(self.folder, "calls")
        self.has_done_all(self.run_one(None, strace(out, ",".join(CALLS))))
        counts = collections.Counter()
        with open(out, errors="replace") as f:
            for line in f:
                found = re.match(r"([0-9]+) +([a-z0-9_]+)\(", line)
                if found:
                    counts[found.groups()] += 1
        most = collections.Counter()
        for (_, call), n in counts.items():
            most[call] = max(most[call], n)
        rand, points = random.Random(seed), []
        for kind, (_, calls) in KINDS.items():
            for call in calls:
                ns = range(1, most[call] + 1)
                few = rand.sample(ns, -(-len(ns) // every))  # rounded up
                points += [Point(call, kind, n) for n in sorted(few)]
        return points

    def has_done_all(self, run):
        """An operation that was refused, or had nothing to do, is not broken off anywhere."""
        did, ops = run.oracle.acknowledged, {c["op"] for c in self.store.server.commits()}
        if did != len(SCRIPT) or not {"complete", "copy"} <= ops:
            raise Broken("vacuous", "without faults %d of %d operations were done, in the "
                         "bucket %s" % (did, len(SCRIPT), sorted(ops)))

    def try_point(self, point):
        self.run_one(point, strace("/dev/null", point.call, point.inject()))

    def summary(self):
        return ("%d runs (%s), the daemon ended in %d; %d operations acknowledged, %d failed" % (
            self.runs, ", ".join("%s %d" % (k, self.count[k]) for k in KINDS),
            self.count["ended"], self.count["acknowledged"], self.count["failed"]))


class Run(Watched):
    """The script once, and what the next mount makes of it."""

    def __init__(self, folder, store, commits, upload, point, wrap):
        mount = lib.Mount(folder, store, {**OPTIONS, "upload": upload}, user=wrap)
        super().__init__(folder, store, mount, "s", commits)
        self.where, self.ended, self.is_hung = str(point), False, False
        self.kind = point.kind if point else "none"

    def run(self):
        self.store.server.reset()
        self.commits.new()  # of the run before
        self.script()
        self.mount.user = None
        t0 = time.monotonic()
        self.start()
        took = time.monotonic() - t0
        if took > REMOUNT_SECS * lib.SLOW:
            raise Broken("mount", "%s: the next mount took %.1f s" % (self.where, took))
        self.verify(True)
        self.drain()
        self.no_strays()
        self.check_commits()

    def script(self):
        """Ends with the daemon dead, by the point or by us."""
        try:
            self.mount.mount()
        except AssertionError as err:
            self.did_not_mount(err)
            return
        timer = threading.Timer(RUN_SECS * lib.SLOW, self.hung)
        timer.start()
        writer, = self.writers
        writer.start(point=self.mount.point, seed=SCRIPT_SEED, names={}, script=SCRIPT)
        writer.expect(b"end\n")
        timer.cancel()
        if self.is_hung:
            raise Broken("hung", "%s: an operation hung for %d s\n%s" % (
                self.where, RUN_SECS * lib.SLOW, self.mount.tail()))
        self.ended = self.mount.process.poll() is not None
        self.judge(self.mount.kill(any_end=True))
        self.listen()
        self.oracle.hear({"by": "", "kill": self.where})

    def hung(self):
        self.is_hung = True
        self.mount.process.kill()

    def judge(self, code):
        """A call that fails may end the daemon, but by no signal: that is a crash."""
        self.judge_end(code, killed=self.kind == "kill" or not self.ended,
                       may_end=self.kind not in ("kill", "none"))

    def did_not_mount(self, err):
        """It was killed, or has said why."""
        if self.mount.process.poll() is None:
            raise Broken("hung", "%s: %s" % (self.where, err)) from None
        self.ended, code = True, self.mount.process.returncode
        self.mount.ended()
        self.judge(code)
        if code >= 0 and not re.search(" (error|warning): |: error ", self.mount.log()):
            raise Broken("mount", self.where + ": a mount ended and did not say why")

    def no_strays(self):
        """After the drain: each file in staged/ is one that the journal knows."""
        rows = {str(n) for n, in self.mount.journal("SELECT id FROM staged")}
        files = {os.path.basename(p) for p in glob.glob(
            os.path.join(self.mount.cache, "*", "staged", "*"))}
        if files - rows:
            raise Broken("order", "%s: left in staged/: %s" % (
                self.where, " ".join(sorted(files - rows))))
