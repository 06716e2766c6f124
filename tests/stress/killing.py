"""killing.py - the kill loop: writers on a mount, and a daemon that is killed at any moment.

What is acknowledged is written down outside the mount (writer.py); after each kill the next
mount is held against it (oracle.py), and from time to time, with the cache wiped, the bucket.
"""
import collections
import random
import signal
import time

import lib
from oracle import Broken
from watched import Watched

WRITERS = ("a", "b")
BYTES_EVERY = 10  # cycles between two that compare the bytes of all files
TERM_SECS = 130
PENDING_WANTED = 0.3  # of the kills: a loop that finds nothing pending proves nothing


class KillLoop(Watched):
    """mount is made with options()."""

    @staticmethod
    def options(upload, ttl="60s"):
        return {"upload": upload, "drain": "120s", "log_level": "info", "ttl": ttl}

    def __init__(self, folder, store, mount, seed, first=0, wipe_every=50, commits=None):
        super().__init__(folder, store, mount, WRITERS, commits)
        self.seed, self.cycle, self.wipe_every, self.rand = seed, first, wipe_every, None
        self.count, self.times = collections.Counter(), collections.Counter()

    def timed(self, what, call, *args):
        t0 = time.monotonic()
        try:
            return call(*args)
        finally:
            self.times[what] += time.monotonic() - t0

    # --- one cycle ---

    def run(self, cycles):
        """Ends with everything in the bucket, or raises Broken."""
        if self.server:
            self.slow_puts()
        self.start()
        try:
            for n in range(cycles):
                last = n == cycles - 1
                self.rand = random.Random("%d cycle %d" % (self.seed, self.cycle))
                self.where = "cycle %d" % self.cycle
                self.one(wipes=last or n % self.wipe_every == self.wipe_every - 1)
                self.count["cycles"] += 1
                self.cycle += 1
                self.progress()
            self.mount.umount()
        finally:
            self.stop()
        if self.count["pending"] < self.count["cycles"] * PENDING_WANTED:
            raise Broken("vacuous", "of %(cycles)d kills only %(pending)d found something "
                         "pending" % self.count)

    def progress(self):
        """Called after each cycle."""

    def summary(self, broken=None):
        n = collections.Counter(self.count, acknowledged=self.oracle.acknowledged,
                                failed=self.oracle.failed)
        if broken:
            n[broken.kind] += 1
        n["percent"] = 100 * n["pending"] // max(1, n["cycles"])
        n.update({what: self.oracle.done[what] for what in ("move", "copy")})
        return ("%(cycles)d cycles, %(acknowledged)d operations acknowledged (%(move)d directories "
                "moved, %(copy)d copies), %(failed)d failed, "
                "%(pending)d kills with pending uploads (%(percent)d %%), %(parts)d with an upload "
                "in parts begun, %(recoveries)d "
                "recoveries killed, %(terminated)d terminated, %(stopped)d stopped first, "
                "%(faulty)d with faults, %(refused)d mounts refused under faults, %(wiped)d "
                "times wiped and verified; lost %(lost)d, wrong %(wrong)d, out of order "
                "%(order)d, failed mounts %(mount)d, crashed %(crashed)d" % n)

    def one(self, wipes):
        big = self.rand.random() < 0.08
        faults = not wipes and self.rand.random() < 0.1 and self.rules_for_a_while()
        for w in self.writers:
            w.start(point=self.mount.point, seed="%d %d" % (self.seed, self.cycle), big=big,
                    names=self.oracle.known(w.name))
        # The moment of the kill is what is tested.
        time.sleep(self.rand.uniform(0, 1 if big else 0.3) * lib.SLOW)
        self.timed("kill", self.end_daemon)
        for w in self.writers:
            self.timed("writers", w.expect, b"end\n")
        self.listen()
        self.oracle.hear({"by": "", "kill": self.cycle})
        self.count["pending"] += self.timed("pending", self.has_pending)
        self.count["parts"] += bool(self.mount.journal("SELECT 1 FROM upload LIMIT 1"))
        self.recover(faults)
        self.timed("verify", self.verify, wipes or self.cycle % BYTES_EVERY == 0)
        if wipes:
            self.count["wiped"] += 1
            self.timed("wipe", self.drain_and_wipe)
        self.check_commits()

    def has_pending(self):
        """Did the daemon owe the bucket something?"""
        return bool(self.mount.journal("SELECT 1 FROM staged WHERE state=1 OR upload_id<>'' UNION "
                                 "SELECT 1 FROM gone LIMIT 1"))

    def rules_for_a_while(self):
        if not self.server:
            return False
        self.count["faulty"] += 1
        self.server.clear()  # the first rule that matches is the one that acts
        self.server.chaos(self.rand.choice((0.03, 0.1, 0.2)), self.rand.randrange(1 << 30))
        self.slow_puts()
        return True

    def slow_puts(self):
        """As a network would, so that kills find something pending."""
        for method in self.store.sends:
            self.server.rule("delay", method=method, secs=0.01)
        self.server.rule("delay", method="DELETE", secs=0.003)

    def end_daemon(self):
        how = self.rand.random()
        if how < 0.05:
            self.count["terminated"] += 1
            self.mount.process.send_signal(signal.SIGTERM)
            code = self.mount.process.wait(TERM_SECS * lib.SLOW)
            self.mount.ended()
            if code:
                raise Broken("mount", "after SIGTERM the daemon ended with %d" % code)
            return
        if how < 0.10:
            self.count["stopped"] += 1
            self.mount.process.send_signal(signal.SIGSTOP)
            time.sleep(self.rand.uniform(0, 1))
        self.kill()

    def recover(self, faults):
        if self.rand.random() < 0.2:
            self.count["recoveries"] += 1
            self.mount.start()
            time.sleep(self.rand.uniform(0, 0.15) * lib.SLOW)
            self.kill(may_end=bool(faults))
        if faults and self.rand.random() < 0.5:
            self.timed("mount", self.start_under_faults)
        elif faults:
            self.honest()
        if not self.mount.process:
            self.timed("mount", self.start)
        if faults:
            self.honest()

    def start_under_faults(self):
        """The first look at the store is not repeated: the mount may say that it failed."""
        before = len(self.mount.log())
        try:
            self.mount.mount()
        except AssertionError as err:
            if self.mount.process.poll() is None:
                raise Broken("hung", "%s: %s" % (self.where, err)) from None
            self.judge_end(self.mount.process.returncode, killed=False, may_end=True)
            if "error: " not in self.mount.log()[before:]:
                raise Broken("mount", self.where + ": a mount ended and did not say why"
                             ) from None
            self.count["refused"] += 1
            self.mount.ended()
            self.honest()

    def honest(self):
        self.server.clear()
        self.slow_puts()

