"""watched.py - a mount and its bucket, held against what the writers said (oracle.py)."""
import collections
import json
import os
import signal
import stat
import subprocess
import sys
import time

import lib
from lib import PREFIX
from oracle import DIR, GONE, Broken, Oracle, length

PROBE = ".mastfs-probe-"  # what a mount finds out with what the store checks
LATE_SECS = 0.5  # until a server has done with what a dead daemon had sent
OURS = (PROBE, ".mastfs-parts/")  # at Google the parts of an upload are objects


class WriterProcess:
    """One for all cycles: to start Python takes longer than a cycle."""

    def __init__(self, name, manifest):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                          "writer.py"), name, manifest],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, **run):
        self.process.stdin.write((json.dumps(run) + "\n").encode())
        self.process.stdin.flush()
        self.expect(b"go\n")

    def expect(self, word):
        got = self.process.stdout.readline()
        assert got == word, "the writer %s ended: %r" % (self.name, got)

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


class Tail:
    """The whole lines that were appended to a file since it was last asked."""

    def __init__(self, path):
        self.path, self.at = path, 0

    def new(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
        whole = data[:data.rfind(b"\n") + 1]
        self.at += len(whole)
        return whole.splitlines()


class Watched:
    """folder: where the manifest is.  mount: not mounted yet.  commits: the file of commits of
    a scripted server, or None where the store keeps none."""

    def __init__(self, folder, store, mount, names, commits=None):
        self.folder, self.store, self.mount, self.where = folder, store, mount, "the start"
        self.server = getattr(store, "server", None)  # if it is one that can be told to lie
        manifest = os.path.join(folder, "manifest")
        self.oracle, self.manifest = Oracle(), Tail(manifest)
        self.log, self.commits = Tail(mount.log_path), Tail(commits) if commits else None
        self.writers = [WriterProcess(name, manifest) for name in names]
        self.abandoned = collections.Counter()
        self.recent = set()  # names to which something was done in the last cycle but one

    def stop(self):
        for w in self.writers:
            w.stop()

    def start(self):
        try:
            self.mount.mount()
        except AssertionError as err:
            raise Broken("mount", "%s: %s" % (self.where, err)) from None

    def kill(self, may_end=False):
        """By our signal.  A daemon that had died of another would hide behind ours."""
        killed = self.mount.process.poll() is None
        self.judge_end(self.mount.kill(any_end=True), killed, may_end)
        # What a server takes from the dead after the next mount has looked is nobody's: ours
        # are quick, of Azurite it was seen (seed 1601, cycle 10).
        if not hasattr(self.store, "server"):
            time.sleep(LATE_SECS * lib.SLOW)

    def judge_end(self, code, killed, may_end):
        """killed: SIGKILL was sent on purpose.  may_end: by itself it may have ended, too."""
        if not (killed and code == -signal.SIGKILL or may_end and code >= 0):
            raise Broken("crashed", "%s: the daemon ended with %d\n%s" % (
                self.where, code, self.mount.tail()))

    def listen(self):
        """After the writers have ended."""
        for line in self.manifest.new():
            self.oracle.hear(json.loads(line))

    def content(self, name):
        path = self.mount.path(name)
        if self.store.name == "minio" and DIR not in self.oracle.may[name]:
            # A listing shows the directory of an object that it is removing just then, and
            # for ever what a removal and a PUT that came together left of it on its disk.
            lib.wait("no directory " + name,
                     lambda: not os.path.isdir(path) or not os.listdir(path))
            if os.path.isdir(path) and self.store.get(name) is None:
                return GONE
        try:
            return DIR if os.path.isdir(path) else lib.read(path)
        except FileNotFoundError:
            return GONE

    def looks_right(self, name, want):
        """What nobody has changed: there, and of its size."""
        try:
            st = os.stat(self.mount.path(name))
        except FileNotFoundError:
            return want is GONE
        return want is DIR if stat.S_ISDIR(st.st_mode) else (
            isinstance(want, tuple) and st.st_size == length(want))

    def verify(self, everything):
        """Each name; the bytes of those to which something was done, or of all."""
        touched = self.oracle.touched
        for name, may in sorted(self.oracle.may.items()):
            if (everything or name in touched or name in self.recent or len(may) > 1
                    or not self.looks_right(name, may[0])):
                self.oracle.settle(name, self.content(name), self.where)
        self.recent, self.oracle.touched = touched, set()
        self.oracle.settle_together(self.where)

    def drain(self):
        """Unmount: all is in the bucket then, and nothing else of ours."""
        self.mount.umount()
        left = [n for n in self.store.files() if n.endswith(".part")]
        left += ["%s, unfinished" % n for n in self.unfinished() - self.growing()]
        if left:
            raise Broken("order", "%s: left in the bucket: %s" % (self.where, ", ".join(left)))
        for name, may in sorted(self.oracle.may.items()):
            if not name.endswith(".part") and may[0] is not DIR:
                self.oracle.settle(name, self.store.get(name), self.where + ", in the bucket")

    def unfinished(self):
        """Of the bucket's uploads, but for those that a wiped cache knew: name -> how many."""
        return collections.Counter(n for n in self.store.uploads() if PROBE not in n
                                   ) - self.abandoned - collections.Counter(
                                       self.store.late_uploads(self.mount.deaths))

    def growing(self):
        """Parts of a download that is not finished: the next mount goes on with them."""
        return collections.Counter(PREFIX + n for n, in self.mount.journal(
            "SELECT upload.key FROM upload JOIN staged ON staged.id=staged_id "
            "WHERE local AND state=0") if self.oracle.may.get(n + ".part", [GONE]) != [GONE])

    def drain_and_wipe(self):
        """With the cache wiped only the bucket speaks; what was only here is gone with it."""
        self.drain()
        self.mount.wipe()
        self.abandoned += self.unfinished()
        self.start()
        for name in sorted(self.oracle.may):
            if name.endswith(".part"):
                self.oracle.may[name] = [GONE]
            self.oracle.settle(name, self.content(name), self.where + ", through a new mount")

    def check_commits(self):
        for line in self.commits.new() if self.commits else ():
            c = json.loads(line)
            if "acked" in c:  # that the answer to an earlier line went out
                continue
            name = c["key"][len(PREFIX):]
            if name and not name.startswith(OURS):
                self.oracle.commit(name, c["op"], c.get("size", 0), c.get("sha256", ""))
        overlaps = self.server.overlaps() if self.server else []
        if overlaps:
            raise Broken("order", "%s: finished twice at a time: %r" % (self.where, overlaps))
        conflicts = [line for line in self.log.new() if b"the bucket changed since" in line]
        if conflicts:
            raise Broken("order", "%s: a conflict, and nobody else writes: %s" % (
                self.where, conflicts[0].decode("utf-8", "replace")))
