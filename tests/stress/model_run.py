"""model_run.py - does operations on two mounts and judges each by the model."""
import errno
import mmap
import os
import random
import time
import traceback
from dataclasses import replace

import world
import lib
from lib import body, difference
from model_look import SETTLE_SECS, Look
from model_names import Names
from model_state import Bucket, Node, Side, Wrong, attempt, is_local, name_of


class Handle:
    def __init__(self, side, node, fd, writes):
        self.side, self.node, self.fd, self.writes = side, node, fd, writes
        # Read past the daemon a handle keeps its bytes when its own mount writes the file.
        self.old = None if writes or node.staged else bytes(node.data)


class Run(Look, Names):
    """One test: Run(...).run(ops) raises Wrong."""

    HANDLES = 5

    def __init__(self, store, commits, mounts, upload, ttl=0):
        """commits: the file that the server writes them to; mounts have these options."""
        self.store, self.mounts, self.upload, self.ttl = store, mounts, upload, ttl
        self.bucket = Bucket(commits, lib.PREFIX)
        store.server.keep()
        store.server.config(log=False)  # of a million requests
        self.sides = [Side(self.bucket, ttl) for _ in mounts]
        self.handles, self.done, self.counts = [], 0, {}
        self.lost = set()  # uploads of which no journal knows any more
        self.rand = random.Random(1)

    @staticmethod
    def options(upload, ttl=0):
        return {"upload": upload, "ttl": "%gs" % ttl, "log_level": "info"}

    # --- doing ---

    def run(self, ops):
        for n, op in enumerate(ops):
            self.done = n
            self.counts[op.kind] = self.counts.get(op.kind, 0) + 1
            self.bucket.doer = None
            if not op.kind.startswith("their"):
                op = self.prepare(op)
                self.bucket.doer = self.sides[op.side]
            if not any(s.clashes(p) for s in self.sides for p in (op.path, op.to)):
                getattr(self, "do_" + op.kind)(op, op.side, op.path)
            self.check(n, op)
        self.finish()

    def prepare(self, op):
        """Names in motion come to rest before they are used, if they do not rest at another
        mount, which is then the one to do it."""
        self.bucket.refresh()
        for n in range(len(self.sides)):
            side = (op.side + n) % len(self.sides)
            if not any(self.sides[side].uncertain(p) for p in self.used(op, side)):
                return replace(op, side=side)
        for path in self.used(op, op.side):
            self.settle(op.side, path)
        return op

    def used(self, op, side):
        paths = [op.path, op.to]
        if op.kind in ("rmdir", "rename"):  # is it empty?
            paths += [k.rstrip("/") for k in self.sides[side].removed
                      if k.startswith((op.path + "/", op.to + "/"))]
        return paths

    def finish(self):
        self.close_all()
        self.check_all()
        for i, m in enumerate(self.mounts):
            m.umount()
            m.check_sanitizers()

    def expect(self, want, call, *args):
        """The call must end so, unless the bucket changes while it runs.
        want() -> errno or 0, as things are."""
        self.bucket.refresh()
        first, before = want(), self.bucket.seen
        code, got = attempt(call, *args)
        self.bucket.refresh()
        if code != first and (self.bucket.seen == before or code != want()):
            raise Wrong("%s, should be %s" % (name_of(code), name_of(first)))
        return code, got

    def path(self, i, path):
        return self.mounts[i].path(path)

    def may_open(self, i, path, creates=False, writes=False):
        def want():
            side = self.sides[i]
            bad = side.fails(path)
            if bad:
                return bad
            kind = side.kind(path)
            if kind == "dir" and (creates or writes):
                return errno.EISDIR
            return 0 if kind or creates else errno.ENOENT
        return want

    def open(self, i, path, flags, mode=0o644):
        """-> a Handle or None."""
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR))
        side = self.sides[i]
        clean = path not in side.staged and path not in side.removed
        self.bucket.refresh()
        was, before = self.bucket.etag(path), self.bucket.seen
        code, fd = self.expect(self.may_open(i, path, bool(flags & os.O_CREAT), writes),
                               os.open, self.path(i, path), flags, mode)
        if code:
            return None
        moved = clean and self.bucket.since.get(path, 0) > before
        if side.kind(path) == "dir" or (moved and not flags & os.O_TRUNC):
            os.close(fd)
            return None
        if not side.kind(path):
            node = self.new_node(side, path)
        else:
            node = side.node(path)
        h = Handle(i, node, fd, writes)
        node.opens += 1
        if not node.staged:
            side.opened[path] = node
        if writes:
            node.writers += 1
        if flags & os.O_TRUNC:
            self.stage(side, node)
            node.also = {was} if moved else set()
            del node.data[:]
        self.handles.append(h)
        return h

    def new_node(self, side, path):
        node = Node(path, b"")
        node.staged = node.dirty = True
        node.held = path in side.removed and not is_local(path)
        if node.held:
            node.base = side.removed.pop(path)
            side.stale.discard(path)
        side.landing.pop(path, None)
        side.staged[path] = node
        return node

    def stage(self, side, node):
        """It is about to be changed."""
        if node.path is not None:
            side.opened.pop(node.path, None)
            side.staged[node.path] = node
        if not node.dirty and not node.conflict:
            node.base = node.etag
        node.staged = node.dirty = True

    def write(self, h, data, off):
        if not data:
            return
        n = self.unless_superseded(h, os.pwrite, h.fd, data, off)
        if n is None:
            return
        self.stage(self.sides[h.side], h.node)
        if n != len(data):
            raise Wrong("a short write: %d of %d" % (n, len(data)))
        h.node.data.extend(bytes(max(0, off - len(h.node.data))))
        h.node.data[off:off + n] = data

    def unless_superseded(self, h, call, *args):
        """A version that its mount knows to be another's by now takes no writes, nor does one
        whose name it knows to be a directory's; one that it does not know of does, and finds
        out at close.  None: it took none."""
        node = h.node
        self.bucket.refresh()
        now = None if node.path is None else self.bucket.etag(node.path)
        differs = not node.staged and now not in (None, node.etag)
        knows = differs and self.bucket.since[node.path] <= self.sides[h.side].sized
        hidden = node.path is not None and self.bucket.kind(node.path) == "dir"
        code, got = attempt(call, *args)
        self.bucket.refresh()
        if code == errno.ESTALE and not node.staged and (
                differs or hidden or node.foreign):
            return None
        if code or knows:
            raise Wrong("%s, should be %s" % (
                name_of(code), name_of(errno.ESTALE if knows else 0)))
        return got if got is not None else 0

    def fate(self, node):
        """What publishing it gives; None: either.  A conflict stays one until it is written
        on, also if the bucket has its base again by now."""
        if node.conflict and not node.dirty:
            return errno.ESTALE
        now = self.bucket.etag(node.path)
        if now == node.base and not node.also:
            return 0
        either = now == node.base or now in node.also or (now is None and node.held)
        return None if either else errno.ESTALE

    def close(self, h):
        self.handles.remove(h)
        node, side = h.node, self.sides[h.side]
        self.bucket.doer = side
        node.opens -= 1
        node.writers -= h.writes
        due = h.writes and node.path is not None and not node.local and (
            node.dirty or node.conflict)
        self.publish(side, node, due, os.close, h.fd)
        if not node.opens and node.path is not None and side.opened.get(node.path) is node:
            del side.opened[node.path]

    def publish(self, side, node, due, call, *args):
        """The call uploads it, if that is due."""
        self.bucket.refresh()
        self.bucket.learn(node.data)
        want, before = self.fate(node) if due else 0, self.bucket.seen
        code, _ = attempt(call, *args)
        if due and not code and self.upload == "background":
            code = self.uploaded(side, node)
        self.bucket.refresh()
        moved = self.bucket.seen != before + (due and not code)
        if want is not None and code != want and not (moved and code == errno.ESTALE):
            raise Wrong("%s, should be %s" % (name_of(code), name_of(want)))
        if due and code:
            if code != errno.ESTALE:
                raise Wrong("%s, should be ESTALE" % name_of(code))
            self.refused(node)
        elif due:
            self.arrived(side, node)
        elif not node.writers and node.staged and not node.dirty and not node.conflict:
            self.is_clean(side, node)

    def uploaded(self, side, node):
        """In the background: until it is there, or refused."""
        path = self.path(self.sides.index(side), node.path)
        state, end = b"waiting", time.monotonic() + SETTLE_SECS * lib.SLOW
        while state in (b"uploading", b"waiting"):
            state = os.getxattr(path, "user.mastfs.state")
            if time.monotonic() > end:
                raise Wrong("the upload of %s does not end" % node.path)
            time.sleep(.001)
        return errno.ESTALE if state == b"conflict" else 0

    def arrived(self, side, node, ops=("put", "complete"), since=None):
        """since: it replaces what was there then or has come there since."""
        was, node.etag = self.bucket.claim(ops, node.path, node.data)
        late = since is not None and self.bucket.prior[node.path] > since
        if was != node.base and was not in node.also and not (
                was is None and node.held) and not late:
            raise Wrong("%s: the upload replaced %s, it was made from %s (P5)" % (
                node.path, was, node.base))
        node.dirty = node.conflict = node.held = node.foreign = node.promised = False
        node.kept, node.also = None, set()
        if not node.writers:
            self.is_clean(side, node)

    @staticmethod
    def refused(node):
        node.conflict, node.dirty, node.held, node.promised = True, False, False, False
        node.also = set()
        node.kept = bytes(node.data)

    def is_clean(self, side, node):
        if node.path is None or node.local:
            return
        side.staged.pop(node.path, None)
        node.staged = False
        if node.opens:
            side.opened[node.path] = node

    # --- operations: whole files ---

    def body(self, op):
        return self.bucket.learn(body(op.size, op.seed))

    def do_put(self, op, i, path):
        h = self.open(i, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if h:
            self.write(h, self.body(op), 0)
            self.close(h)

    def do_append(self, op, i, path):
        h = self.open(i, path, os.O_WRONLY | os.O_APPEND)
        if h:
            self.write(h, self.body(op), len(h.node.data))
            self.close(h)

    def do_patch(self, op, i, path):
        h = self.open(i, path, os.O_RDWR)
        if h:
            self.write(h, self.body(op), int(op.at * (len(h.node.data) + 100)))
            self.close(h)

    def do_copy(self, op, i, path):
        if path == op.to:
            return
        h = self.open(i, path, os.O_RDONLY)
        if not h:
            return
        to = self.open(i, op.to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if to:
            self.stage(self.sides[i], to.node)
            while os.copy_file_range(h.fd, to.fd, 1 << 24):
                pass
            to.node.data[:] = h.node.data
            self.bucket.refresh()
            if any(put[:2] == ("copy", op.to) for put in self.bucket.unclaimed):
                self.arrived(self.sides[i], to.node, ("copy",))
            self.close(to)
        self.close(h)

    def do_race(self, op, i, path):
        """Two change what both have seen; who closes second is told."""
        other = (i + 1) % len(self.sides)
        if is_local(path):
            return
        self.settle(other, path)
        pair = [self.open(s, path, os.O_RDWR) for s in (i, other)]
        for n, h in enumerate(pair):
            if h:
                self.write(h, body(1000 + n, op.seed + n), 0)
        for h in pair:
            if h:
                self.close(h)

    def do_read(self, op, i, path):
        h = self.open(i, path, os.O_RDONLY)
        if h:
            self.read(h, 0, len(h.node.data) + 1)
            self.close(h)

    def do_pread(self, op, i, path):
        h = self.open(i, path, os.O_RDONLY)
        if h:
            self.read(h, int(op.at * (len(h.node.data) + 10)), op.size)
            self.close(h)

    def read(self, h, off, size):
        """The bytes of what was opened, or ESTALE if that is not the bucket's any more."""
        want = bytes(h.node.data[off:off + size])
        code, got = attempt(lib.pread, h.fd, size, off)
        self.bucket.refresh()
        if code == errno.ESTALE and not h.node.staged and (h.node.foreign or self.ttl):
            return
        text = name_of(code) if code else difference(got, want)
        if text and (code or h.old is None or got != h.old[off:off + size]):
            raise Wrong("read at %d of what was %s: %s" % (off, h.node.path, text))

    def do_map(self, op, i, path):
        writes = op.at < .5
        h = self.open(i, path, os.O_RDWR if writes else os.O_RDONLY)
        if not h:
            return
        data = h.node.data
        if data:
            off = int(op.at * len(data))
            with mmap.mmap(h.fd, 0, mmap.MAP_SHARED, mmap.PROT_READ
                           | (mmap.PROT_WRITE if writes else 0)) as view:
                text = difference(view[off:off + op.size], bytes(data[off:off + op.size]))
                if text:
                    raise Wrong("mapped %s at %d: %s" % (path, off, text))
                new = self.body(op)[:len(data) - off]
                if writes and new:
                    self.stage(self.sides[i], h.node)
                    view[off:off + len(new)] = new
                    data[off:off + len(new)] = new
                    view.flush()
        self.close(h)

    def do_stat(self, op, i, path):
        side = self.sides[i]
        code, st = self.expect(
            lambda: side.fails(path) or (0 if side.kind(path) else errno.ENOENT),
            os.stat, self.path(i, path))
        if not code and side.kind(path) == "file" and st.st_size != len(side.node(path).data):
            raise Wrong("%d bytes, should be %d" % (st.st_size, len(side.node(path).data)))

    def do_truncate(self, op, i, path):
        side = self.sides[i]
        self.bucket.refresh()
        bad = side.fails(path) or {"dir": errno.EISDIR, None: errno.ENOENT}.get(side.kind(path))
        if bad:
            self.expect(lambda: bad, os.truncate, self.path(i, path), op.size)
            return
        node = side.node(path)
        self.stage(side, node)
        del node.data[op.size:]
        node.data.extend(bytes(op.size - len(node.data)))
        self.publish(side, node, not node.local and not node.writers, os.truncate,
                     self.path(i, path), op.size)

    def do_utime(self, op, i, path):
        side = self.sides[i]
        when = 1500000000 + op.seed % 1000000
        code, _ = self.expect(
            lambda: side.fails(path) or (0 if side.kind(path) else errno.ENOENT),
            os.utime, self.path(i, path), (when, when))
        if code or side.kind(path) == "dir":
            return
        node = side.node(path)
        if not node.staged:
            node.etag = node.base = self.bucket.claim(("copy",), path, node.data)[1]
        elif not node.dirty and not node.conflict and not node.local:
            self.stage(side, node)
        before = self.bucket.seen
        code, st = attempt(os.stat, self.path(i, path))
        self.bucket.refresh()
        if code and self.bucket.seen != before:
            return  # another mount has removed it
        if code or st.st_mtime != when:
            raise Wrong("the time of %s is %s, should be %d" % (
                path, st.st_mtime if st else name_of(code), when))

    # --- operations: files that stay open ---

    def pick(self, op, writes=None):
        some = [h for h in self.handles if writes in (None, h.writes)]
        return some[int(op.at * len(some))] if some else None

    def do_open(self, op, i, path):
        if len(self.handles) < self.HANDLES:
            self.open(i, path, os.O_RDWR if op.at < .6 else os.O_RDONLY)

    def do_hread(self, op, _i, _path):
        h = self.pick(op)
        if h:
            self.read(h, op.seed % (len(h.node.data) + 1), op.size)

    def do_hwrite(self, op, _i, _path):
        h = self.pick(op, True)
        if h:
            self.write(h, self.body(op), op.seed % (len(h.node.data) + 1000))

    def do_hcut(self, op, _i, _path):
        h = self.pick(op, True)
        if h and self.unless_superseded(h, os.ftruncate, h.fd, op.size) is not None:
            self.stage(self.sides[h.side], h.node)
            del h.node.data[op.size:]
            h.node.data.extend(bytes(op.size - len(h.node.data)))

    def do_close(self, op, _i, _path):
        h = self.pick(op)
        if h:
            self.close(h)

    # --- operations: others, and what befalls a mount ---

    def do_their_put(self, op, _i, path):
        self.store.put(path, self.body(op))

    do_their_oddity = do_their_put

    def do_their_delete(self, _op, _i, path):
        self.bucket.refresh()
        if path in self.bucket.keys:
            self.bucket.theirs_to_delete = {path}
            self.store.delete(path)
            self.bucket.refresh()
            self.bucket.theirs_to_delete = set()

    def close_all(self, spared=None):
        """Before a process is started: it closes our files, and that publishes them."""
        for h in [h for h in self.handles if h.side != spared]:
            self.close(h)

    def do_remount(self, _op, i, _path, wipe=False):
        self.close_all()
        self.mounts[i].remount(wipe=wipe)
        self.bucket.refresh()
        side = self.sides[i]
        side.opened.clear()
        side.removed.clear()
        side.stale.clear()
        side.recent.clear()
        side.landing.clear()
        side.listed = side.sized = -1

    def do_wipe(self, op, i, path):
        """What was here only is gone with it, and with it the ids of uploads that were begun
        for files that have temporary names."""
        self.close_all()
        self.mounts[i].umount()
        self.lost.update(uid for uid, in self.mounts[i].journal(
            "SELECT upload_id FROM upload UNION SELECT upload_id FROM staged"))
        self.do_remount(op, i, path, True)
        self.sides[i].staged.clear()

    def do_kill(self, _op, i, _path):
        """What was acknowledged comes back; what was being written is as it was before, but
        for what a rename has promised."""
        side = self.sides[i]
        self.close_all(i)
        self.mounts[i].kill()
        for h in [h for h in self.handles if h.side == i]:
            self.handles.remove(h)
            h.node.opens = h.node.writers = 0
            attempt(os.close, h.fd)
        for node in side.staged.values():
            self.bucket.learn(node.data)
        self.mounts[i].mount()
        side.opened.clear()
        side.landing.clear()
        side.listed = side.sized = -1
        for path, node in list(side.staged.items()):
            if node.local:
                continue
            if node.kept is not None:
                node.data[:] = node.kept
                node.conflict, node.dirty = True, False
                continue
            if node.promised:
                self.recovered(side, node)
                continue
            del side.staged[path]
            if node.held:
                side.removed[path] = node.base

    def recovered(self, side, node):
        """The next mount uploads it as it was."""
        code = self.uploaded(side, node)
        self.bucket.refresh()
        if not code:
            self.arrived(side, node)
        elif self.fate(node) == 0:
            raise Wrong("%s: the next mount does not upload it: %s" % (
                node.path, name_of(code)))
        else:
            self.refused(node)


def replay(ops, upload="close", ttl=0):
    """Runs them from nothing; None, or (number of the operation, what was wrong, logs)."""
    with world.World("s3d") as w:
        mounts = [w.mount(**Run.options(upload, ttl)) for _ in range(2)]
        run = Run(w.store, w.commits, mounts, upload, ttl)
        try:
            run.run(ops)
            return None
        except (AssertionError, OSError) as err:
            tails = "\n".join(m.tail(15) for m in mounts)
            calls = " > ".join(f.name for f in traceback.extract_tb(err.__traceback__)[2:])
            return run.done, "%s: %s (%s)" % (type(err).__name__, err, calls), tails
