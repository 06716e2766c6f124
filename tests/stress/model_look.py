"""model_look.py - what the mounts show, compared with what they must, for model_run.Run."""
import os
import time

import lib
from lib import difference
from model_state import Wrong, is_local

SETTLE_SECS = 30
LOOKS = 200  # at a tree that other clients' changes reach while we look
UNSIZED = -1
# Operations between two looks at both trees with all sizes, at all bytes, and at all bytes
# once nothing moves any more, which takes a second.
BOTH_EVERY, BYTES_EVERY, REST_EVERY = 10, 100, 500


class Look:
    def walk(self, i, sized=None):
        """path -> size or None of a directory; UNSIZED of files that are not in sized, for
        each of which the daemon would ask the bucket."""
        found, todo = {}, [""]
        while todo:
            folder = todo.pop()
            try:
                fd = os.open(self.mounts[i].path(folder), os.O_RDONLY | os.O_DIRECTORY)
            except NotADirectoryError:
                if self.sides[i].clashes(folder):
                    continue
                raise
            try:
                self.walk_one(fd, folder, sized, found, todo)
            finally:
                os.close(fd)
        return found

    @staticmethod
    def walk_one(fd, folder, sized, found, todo):
        with os.scandir(fd) as entries:
            for e in entries:
                path = folder + "/" + e.name if folder else e.name
                if path in found:
                    raise Wrong("%s is listed twice" % path)
                if e.is_dir(follow_symlinks=False):
                    found[path] = None
                    todo.append(path)
                elif sized is None or path in sized:
                    found[path] = os.stat(e.name, dir_fd=fd).st_size
                else:
                    found[path] = UNSIZED

    def look(self, i, judge):
        """judge() must be content, or the bucket changed while it looked."""
        for n in range(LOOKS):
            self.bucket.refresh()
            before = self.bucket.seen
            try:
                return judge(i)
            except (Wrong, OSError) as err:
                self.bucket.refresh()
                if self.bucket.seen == before:
                    if isinstance(err, OSError):
                        raise Wrong("mount %d: %s" % (i, err)) from err
                    raise
        raise Wrong("the bucket never rests")

    def judge_tree(self, i, sized=None):
        side, upto = self.sides[i], self.bucket.seen
        got = self.walk(i, sized)
        side.listed = upto
        side.sized = upto if sized is None else side.sized
        want = side.tree()
        for path in sorted(set(got) | set(want)):
            here, there = got.get(path, ()), want.get(path, ())
            if here == UNSIZED and isinstance(there, int):
                got[path] = here = there
            if here != there and not side.uncertain(path):
                raise Wrong("mount %d shows %s as %s, should be %s" % (i, path, *(
                    "nothing" if x == () else "a directory" if x is None else "%d bytes" % x
                    for x in (here, there))))
        self.notice_return(side, got)

    def notice_return(self, side, got):
        """What is shown again although it was removed is the bucket's, and not hidden now.
        A directory in the place of a removed file says nothing of the file, nor a file in
        that of a removed directory of the directory: others may make it anew and see it
        hidden until the DELETE of its marker is answered."""
        self.bucket.refresh()
        for key, etag in list(side.removed.items()):
            path = key.rstrip("/")
            if side.hides(key) or not side.uncertain(path):
                continue
            del side.removed[key]
            shown = got.get(path, ())
            if shown != side.tree().get(path, ()) or (shown is None) != key.endswith("/"):
                side.removed[key] = etag
        for key in list(side.landing):
            path = key.rstrip("/")
            if path in got and got[path] == side.tree().get(path, ()):
                del side.landing[key]

    def judge_bytes(self, i, path):
        side = self.sides[i]
        if side.uncertain(path) or side.kind(path) != "file":
            return
        text = difference(lib.read(self.mounts[i].path(path)), bytes(side.node(path).data))
        if text:
            raise Wrong("mount %d, %s: %s" % (i, path, text))

    def judge_all(self, i):
        for path, size in self.sides[i].tree().items():
            if size is not None:
                self.judge_bytes(i, path)

    def check(self, n, op):
        """The tree of one mount, by turns, and the bytes of a file; now and then more."""
        both = n % BOTH_EVERY == BOTH_EVERY - 1
        for i in range(len(self.mounts)) if both else [n % len(self.mounts)]:
            self.look(i, lambda i: self.judge_tree(i, None if both else (op.path, op.to)))
        i = self.rand.randrange(len(self.mounts))
        files = [p for p, size in self.sides[i].tree().items() if size is not None]
        if files:
            path = self.rand.choice(files)
            self.look(i, lambda i: self.judge_bytes(i, path))
        if n % BYTES_EVERY == BYTES_EVERY - 1:
            for i in range(len(self.mounts)):
                self.look(i, self.judge_all)
        if n % REST_EVERY == REST_EVERY - 1:
            self.check_all()
        if self.bucket.unclaimed:
            raise Wrong("nobody asked for %r" % self.bucket.unclaimed)

    def check_all(self):
        """Everything comes to rest; then all bytes."""
        for i, side in enumerate(self.sides):
            self.settle(i, "", True)
            self.look(i, self.judge_tree)
            self.look(i, self.judge_all)
            if any(side.hides(k) for k in side.removed):
                raise Wrong("mount %d never deleted %r" % (i, side.removed))
        self.none_unfinished()
        if overlaps := self.store.server.overlaps():
            raise Wrong("finished twice at a time: %r" % overlaps)

    def unfinished(self):
        """Uploads, but for one of each temporary file, which goes on when that is renamed,
        those of a cache that we wiped, and what the server began for a daemon that we had
        killed."""
        left = [u["key"] for u in self.store.server.uploads() if u["id"] not in self.lost]
        for key in self.store.late_uploads([t for m in self.mounts for t in m.deaths]):
            left.remove(key)
        for side in self.sides:
            for path in side.staged:
                key = lib.PREFIX + path.removesuffix(".part")
                if is_local(path) and key in left:
                    left.remove(key)
        return left

    def none_unfinished(self):
        """What was begun for another name is aborted in the background, and once more after
        half a minute if that fails."""
        end = time.monotonic() + 2 * SETTLE_SECS * lib.SLOW + 10
        while left := self.unfinished():
            if time.monotonic() > end:
                raise Wrong("unfinished uploads: %r of %r" % (
                    left, self.store.server.uploads()))
            time.sleep(.1)

    def settle(self, i, path, everything=False):
        """Until nothing of path is uncertain at mount i."""
        side = self.sides[i]
        end = time.monotonic() + SETTLE_SECS * lib.SLOW + 2 * self.ttl
        while True:
            self.bucket.refresh()
            paths = [k.rstrip("/") for k in (
            *side.removed, *side.landing, *side.recent)] \
                if everything else [path]
            waits = [p for p in paths if side.uncertain(p) and not side.clashes(p)]
            if everything:
                waits += [k for k in side.removed if side.hides(k)]
            if not waits:
                return
            if time.monotonic() > end:
                raise Wrong("mount %d does not come to show the bucket's %r (%r)" % (
                    i, waits, side.removed))
            time.sleep(.01)
            try:
                self.judge_tree(i, paths)
            except (Wrong, OSError):
                pass
