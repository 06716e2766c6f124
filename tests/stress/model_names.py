"""model_names.py - the operations that change names, for model_run.Run."""
import errno
import os

from model_state import Wrong, attempt, is_local, name_of, shown


class Names:
    def do_unlink(self, op, i, path):
        side = self.sides[i]
        code, _ = self.expect(
            lambda: side.fails(path) or {"dir": errno.EISDIR, None: errno.ENOENT}.get(
                side.kind(path), 0), os.unlink, self.path(i, path))
        if not code:
            self.unname(side, path, True)

    def unname(self, side, path, removes):
        """Nothing has the name; what the bucket has under it is removed.  A conflict leaves
        that alone, but one that was written on is again a file made from its base, and what
        is not that shows once it has been asked for."""
        node = side.staged.pop(path, None) or side.opened.pop(path, None)
        etag = self.bucket.etag(path)
        if node and node.staged:
            etag = None if is_local(path) else node.base if node.dirty else \
                None if node.conflict else node.etag
        if node:
            node.path = None
        if removes and etag:
            if node and not node.staged:
                side.unlinked.append((path, node))
            side.removed[path] = etag
            side.stale.discard(path)

    def do_mkdir(self, op, i, path):
        side = self.sides[i]
        code, _ = self.expect(
            lambda: side.fails(path) or (errno.EEXIST if side.kind(path) else 0),
            os.mkdir, self.path(i, path))
        if not code:
            side.removed.pop(path + "/", None)
            for put in list(self.bucket.unclaimed):
                if put[:2] == ("put", path + "/"):
                    self.bucket.unclaimed.remove(put)

    def do_rmdir(self, op, i, path):
        side = self.sides[i]

        def want():
            bad = side.fails(path) or {"file": errno.ENOTDIR, None: errno.ENOENT}.get(
                side.kind(path))
            return bad or (errno.ENOTEMPTY if self.has_below(side, path) else 0)
        try:
            code, _ = self.expect(want, os.rmdir, self.path(i, path))
        except Wrong as err:
            raise Wrong("%s; in it: %r" % (err, os.listdir(self.path(i, path)))) from err
        if not code:
            self.unname_dir(side, path)

    @staticmethod
    def has_below(side, path):
        """What is shown, and what cannot be shown but is there."""
        return any(p.startswith(path + "/") for p in side.tree()) or any(
            shown(k)[-1] == path and k != path + "/" for k in side.bucket.below(path))

    @staticmethod
    def unname_dir(side, path):
        side.removed[path + "/"] = side.bucket.seen
        side.stale.discard(path + "/")

    def do_rename(self, op, i, path):
        side = self.sides[i]
        self.bucket.refresh()
        if side.kind(path) == "dir":
            self.rename_dir(side, i, path, op.to)
            return

        def want():
            bad = side.fails(path) or side.fails(op.to) or (
                0 if side.kind(path) else errno.ENOENT)
            return bad or (errno.EISDIR if side.kind(op.to) == "dir" else 0)
        node = side.node(path) if not side.fails(path) and side.kind(path) else None
        if want() or path == op.to:
            self.expect(want, os.rename, self.path(i, path), self.path(i, op.to))
        elif node.staged and not (node.conflict and node.writers):
            self.rename_staged(side, i, node, op.to)
        elif not node.staged:
            self.rename_clean(side, i, node, op.to)

    def base_at(self, side, path):
        """What a file that takes this name replaces in the bucket -> (ETag, held)."""
        over = side.staged.get(path)
        if is_local(path):
            return None, False
        if over:
            return (over.base if over.dirty or over.conflict else over.etag), over.held
        if side.kind(path):
            return self.bucket.etag(path), False
        return side.removed.get(path), path in side.removed

    @staticmethod
    def leave(side, etags):
        """Old names, which the bucket may lose before the call ends -> (what is open of
        them, what to call if the rename fails)."""
        was = [(k, side.removed.get(k), k in side.stale, side.opened.pop(k, None))
               for k in etags]
        side.removed.update(etags)
        side.stale.difference_update(etags)

        def undo():
            for key, removed, stale, opened in was:
                side.removed.pop(key, None)
                if removed is not None:
                    side.removed[key] = removed
                if stale:
                    side.stale.add(key)
                if opened:
                    side.opened[key] = opened
        return {k: opened for k, _, _, opened in was if opened}, undo

    def rename_staged(self, side, i, node, to):
        path = node.path
        base, held = self.base_at(side, to)
        found = to not in side.staged and to not in side.removed  # by the daemon, later
        first = self.bucket.seen
        uploads = not is_local(to) and not node.writers
        mine = (node.base if node.dirty else node.etag) if not (
            node.local or node.conflict) else None
        was = dict(vars(node))
        _, stay = self.leave(side, {path: mine} if mine else {})
        node.path, node.base, node.also, node.held = to, base, set(), held
        done = []

        def call():
            os.rename(self.path(i, path), self.path(i, to))
            done.append(True)
        if not uploads:
            self.expect(lambda: 0, call)
        else:
            node.path = None  # it has no name that publish might give to the cache
            self.bucket.refresh()
            self.bucket.learn(node.data)
            now = self.bucket.etag(to)
            refused = errno.ESTALE if self.upload == "background" else errno.EBUSY
            want = 0 if now == base else None if found or (
                now is None and held) else refused
            before = self.bucket.seen
            code, _ = attempt(call)
            if not code and self.upload == "background":
                node.path = to
                code = self.uploaded(side, node)
            self.bucket.refresh()
            if code != want and want is not None and not (
                    code == refused and self.bucket.seen != before):
                vars(node).update(was)
                raise Wrong("%s, should be %s" % (name_of(code), name_of(want)))
        if not done:
            vars(node).update(was)
            stay()
            return
        side.staged.pop(path)
        self.unname(side, to, False)
        node.path = to
        side.staged[to] = node
        if not is_local(to):
            side.removed.pop(to, None)
        if not uploads:
            node.promised = node.promised or not (is_local(path) and is_local(to))
            node.dirty, node.conflict, node.kept = True, False, None
        elif code:
            self.refused(node)
        else:
            self.arrived(side, node, since=first if found else None)

    def rename_clean(self, side, i, node, to):
        path, etag = node.path, node.etag
        base, held = self.base_at(side, to)
        over = side.staged.get(to)
        also = over.also if over else set()

        def want():
            """What is there is what its user knows of, or it stays (P5)."""
            if self.bucket.etag(path) is None:
                return errno.ENOENT  # removed at another mount, and that came through
            now = None if is_local(to) else self.bucket.etag(to)
            known = is_local(to) or now == base or now in also or (now is None and held)
            return 0 if known else errno.EBUSY
        _, stay = self.leave(side, {path: etag})
        code, _ = self.expect(want, os.rename, self.path(i, path), self.path(i, to))
        if code:
            stay()
            return
        self.unname(side, to, False)
        node.path = to
        if is_local(to):
            node.staged, node.dirty, node.base = True, True, None
            side.staged[to] = node
            return
        side.removed.pop(to, None)
        node.etag = node.base = self.bucket.claim(("copy",), to, node.data)[1]
        if node.opens:
            side.opened[to] = node

    def rename_dir(self, side, i, path, to):
        """With all that is in it: cache/dir_move.h."""
        keys = {k: self.bucket.keys[k] for k in self.bucket.below(path)
                if k not in side.removed or k in side.staged}
        staged = {p: n for p, n in side.staged.items() if p.startswith(path + "/")}
        hidden = [k for k in side.removed if k.startswith((path + "/", to + "/"))]
        if is_local(to) or to.startswith(path + "/") or any(
                side.uncertain(k.rstrip("/")) for k in (*keys, *staged, *hidden)):
            return

        def want():
            bad = side.fails(to)
            kind = side.kind(to)
            if bad or path == to:
                return bad
            if kind == "file":
                return errno.ENOTDIR
            if kind and self.has_below(side, to):
                return errno.ENOTEMPTY
            return 0 if self.can_move(keys, staged) else errno.EXDEV
        before = self.bucket.seen
        opened, stay = self.leave(side, {k: etag for k, (etag, _) in keys.items()
                                         if not k.endswith("/") and path != to})
        code, _ = self.expect(want, os.rename, self.path(i, path), self.path(i, to))
        if code or path == to:
            stay()
            return
        moved = {p: (n, n.base if n.dirty else n.etag) for p, n in staged.items()}
        self.unname_dir(side, path)
        side.removed.pop(to + "/", None)
        for key, (etag, data) in keys.items():
            self.moved_key(side, path, to, key, etag, data, before, opened.get(key))
        for old, (node, left) in moved.items():
            self.moved_staged(side, to + old[len(path):], old, node, left, old in keys)
        for put in list(self.bucket.unclaimed):
            if put[0] == "put" and put[1].startswith(to + "/") and put[1].endswith("/"):
                self.bucket.unclaimed.remove(put)

    def can_move(self, keys, staged):
        """Nothing that is in conflict, or of which the bucket has another version by now than
        the one that was uploaded from here; no bytes under the name of a directory."""
        return not any(k.endswith("/") and data for k, (_, data) in keys.items()) and all(
            not n.conflict and (n.local or n.dirty or self.bucket.etag(p) == n.etag)
            for p, n in staged.items())

    def moved_key(self, side, path, to, key, etag, data, before, opened):
        """One object has been copied, and is being removed where it was, or has been."""
        new = to + key[len(path):]
        if key.endswith("/"):
            side.removed[key] = self.bucket.seen
            side.removed.pop(new, None)
            return
        if not any(put[:2] == ("copy", new) for put in self.bucket.unclaimed):
            if self.bucket.since[key] > before:
                side.removed.pop(key, None)
                return  # it went meanwhile
            raise Wrong("%s was renamed and %s is not in the bucket" % (path, new))
        made = self.bucket.claim(("copy",), new, data)[1]
        side.removed.pop(new, None)
        side.stale.discard(new)
        node = side.staged.get(key)
        if node:
            if node.dirty and node.base == etag:
                node.base = made
            elif not node.dirty:
                node.etag = node.base = made
        if opened:
            opened.path = new
            if opened.etag == etag:
                opened.etag = opened.base = made
            side.opened[new] = opened

    def moved_staged(self, side, new, old, node, left, listed):
        del side.staged[old]
        side.staged[new] = node
        node.path = new
        if node.local or listed:
            return
        if new in side.removed:
            node.base, node.held = side.removed.pop(new), True
            side.stale.discard(new)
        if left:
            side.removed[old] = left
            side.stale.discard(old)
