"""model_state.py - what must be there: the bucket, and over it what each mount has of its own.

This is the specification that the model test holds mastfs to.  The bucket's own log of
commits says what it holds; each of them must be one that somebody asked for, follow the
version that it was to replace (P5), and hold bytes that somebody wrote (P4).
"""
import errno
import hashlib
import json
import time
from functools import lru_cache


PROBE = ".mastfs-probe-"  # what a mount tries the server's preconditions with
KNOWN_BYTES = 256 << 20
LANDING_SECS = 5  # from a DELETE until its mount surely knows that it got through


class Wrong(AssertionError):
    """mastfs did what the model does not allow."""


def attempt(call, *args):
    """-> (errno or 0, what it gave)"""
    try:
        return 0, call(*args)
    except OSError as err:
        return err.errno, None


def name_of(code):
    return errno.errorcode.get(code, "success" if not code else str(code))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def is_local(path):
    return path.endswith(".part")


@lru_cache(4096)
def parents(path):
    parts = path.split("/")
    return tuple("/".join(parts[:n]) for n in range(1, len(parts)))


@lru_cache(4096)
def shown(key):
    """The paths that a key makes: itself and what it lies in, up to what can be no name."""
    made, parts = [], key[:-1].split("/") if key.endswith("/") else key.split("/")
    for n, part in enumerate(parts):
        if part in ("", ".", "..") or len(part) > 255:
            break
        made.append("/".join(parts[:n + 1]))
    return made


class Bucket:
    """key -> (ETag, bytes), by what the server writes to a file before anybody sees the
    change; it tells who may have done what."""

    def __init__(self, commits, prefix):
        self.commits, self.prefix, self.part = open(commits), prefix, ""
        self.keys, self.seen, self.known, self.n_known = {}, 0, {}, 0
        self.since = {}      # key -> number of its last commit
        self.prior = {}      # key -> and of the one before that
        self.dirs = {}       # path -> how many keys lie below it
        self.unclaimed = []  # PUTs that no operation has answered for yet
        self.sides = []
        self.learn(b"")

    def learn(self, data):
        """Bytes that may turn up.  Those that did not for long are forgotten."""
        data = bytes(data)
        key = sha(data)
        self.n_known += len(data) - len(self.known.pop(key, b""))
        self.known[key] = data
        while self.n_known > KNOWN_BYTES:
            self.n_known -= len(self.known.pop(next(iter(self.known))))
        return data

    def etag(self, key):
        return self.keys.get(key, (None,))[0]

    def data(self, key):
        return self.keys[key][1]

    def below(self, path):
        if path not in self.dirs:
            return []
        return [k for k in self.keys if k.startswith(path + "/")]

    def count_dirs(self, key, by):
        for path in parents(key):
            self.dirs[path] = self.dirs.get(path, 0) + by
            if not self.dirs[path]:
                del self.dirs[path]

    def moved(self, path):
        """The number of the last commit that changed what path is."""
        return max((n for k, n in self.since.items()
                    if k == path or k.startswith(path + "/")), default=0)

    def kind(self, path):
        """A directory hides a file of its name."""
        if path in self.dirs:
            return "dir"
        return "file" if path in self.keys else None

    def refresh(self):
        """What has happened since; True if anything has."""
        before = self.seen
        while True:
            self.part += self.commits.readline()
            if not self.part.endswith("\n"):
                return self.seen != before
            commit, self.part = json.loads(self.part), ""
            if "op" in commit:
                self.seen += 1
                self.apply(commit)

    def apply(self, commit):
        key = commit["key"][len(self.prefix):]
        if key.startswith(PROBE):
            return
        was = self.keys.get(key)
        owing = [s for s in self.sides if key in s.removed]
        by = self.doer if commit["op"] != "other" else None
        if commit["op"] == "delete":
            by = owing[0] if len(owing) == 1 and key not in self.theirs_to_delete else None
        self.prior[key] = self.since.get(key, 0)
        self.since[key] = self.seen
        if commit["op"] == "delete":
            if self.keys.pop(key, None):
                self.count_dirs(key, -1)
            self.deleted(key, was)
        else:
            data = self.known.get(commit["sha256"])
            if data is None:
                data = next((d for _, d in self.keys.values()
                             if sha(d) == commit["sha256"]), None)
            if data is None:
                raise Wrong("the bucket has %d bytes of %s that nobody wrote" % (
                    commit["size"], key))
            if not was:
                self.count_dirs(key, 1)
            self.keys[key] = (commit["etag"], data)
            if commit["op"] != "other":
                self.unclaimed.append((commit["op"], key, commit["sha256"], was and was[0],
                                       commit["etag"]))
        for side in self.sides:
            side.changed(key, was, by)

    def deleted(self, key, was):
        """By the other client, or by a mount whose user has removed just that."""
        if key in self.theirs_to_delete:
            self.theirs_to_delete.discard(key)
            for side in self.sides:
                if key in side.removed:
                    side.stale.add(key)
            return
        having = [s for s in self.sides if key in s.removed]
        if any(s.is_removed(key, was) for s in having):
            for side in having:  # one of them; the others find that out
                side.stale.add(key)
            if len(having) == 1:
                having[0].removed.pop(key)
                having[0].stale.discard(key)
                having[0].landing[key] = time.monotonic() + LANDING_SECS
            return
        raise Wrong("%s was deleted from the bucket and nobody had removed it" % key)

    theirs_to_delete = set()
    doer = None  # the Side whose operation runs

    def claim(self, ops, key, data=None):
        """The PUT of an operation -> (the ETag that it replaced, its own)."""
        want = None if data is None else sha(data)
        for put in self.unclaimed:
            if put[0] in ops and put[1] == key and want in (None, put[2]):
                self.unclaimed.remove(put)
                return put[3:]
        raise Wrong("success, but %s is not in the bucket: %r" % (key, self.unclaimed))


class Node:
    """An inode of a mount: bytes, and how they stand to the bucket."""

    def __init__(self, path, data, etag=None):
        self.path, self.data, self.etag = path, bytearray(data), etag
        self.staged = self.dirty = self.conflict = False
        self.base = etag    # what the upload is to replace
        self.also = set()   # or one of these: it changed while the file was opened
        self.held = False   # that was removed here before
        self.promised = False  # a rename made it durable: a kill does not undo it
        self.kept = None    # the bytes of a conflict, as they were sealed
        self.writers = self.opens = 0
        self.foreign = False  # somebody else changed the object since

    @property
    def local(self):
        return self.path is not None and is_local(self.path)


class Side:
    """What one mount must show."""

    def __init__(self, bucket, ttl):
        self.bucket, self.ttl = bucket, ttl
        self.staged = {}       # path -> Node: what only this mount has
        self.opened = {}       # path -> Node that is clean and that a handle has
        self.unlinked = []     # (key, Node) of those whose bytes the bucket may still have
        # key -> ETag, of a directory the last commit: gone for the user, perhaps not in the bucket
        self.removed = {}
        self.landing = {}      # key -> until when it may not know that it was deleted
        self.stale = set()     # of those: the bucket lost it otherwise meanwhile
        self.recent = {}       # key -> (until when, versions that may still be believed)
        self.listed = self.sized = -1  # the commit up to which all was looked at
        bucket.sides.append(self)

    def changed(self, key, was, by):
        """A commit, by that side or, None, by somebody else or nobody knows whom."""
        now = time.monotonic()
        if self.ttl:
            _, versions = self.recent.get(key, (0, []))
            self.recent[key] = (now + 2 * self.ttl + .5, versions + [was])
        # Should the same bytes come there again, it may have found out by then, or not.
        if by is not self and was and self.removed.get(key) == was[0]:
            self.stale.add(key)
        node = self.opened.get(key)
        if node and self.bucket.etag(key) != node.etag:
            node.foreign = True
        # Before its own DELETE a mount fetches what somebody has open.
        for name, node in self.unlinked:
            node.foreign = node.foreign or (name == key and by is not self)
        if by is self:
            self.unlinked = [(k, n) for k, n in self.unlinked if k != key and n.opens]

    def is_removed(self, key, version):
        if key.endswith("/"):
            return not version[1]
        return self.removed[key] == version[0]

    def hides(self, key):
        """What was removed is there.  The marker that others made of a directory since may be
        hidden too, if the DELETE is still to come, but perhaps it was long ago: of one that
        finds nothing, no commit tells."""
        return (key in self.removed and key not in self.stale and key in self.bucket.keys
                and self.is_removed(key, self.bucket.keys[key])
                and not (key.endswith("/") and self.bucket.since[key] > self.removed[key]))

    def kind(self, path):
        if path in self.staged:
            return "file"
        if any([p.startswith(path + "/") for p in self.staged]):
            return "dir"
        if is_local(path):
            return None
        if path in self.bucket.dirs and path + "/" not in self.removed:
            return "dir"
        if path in self.removed or path not in self.bucket.keys:
            return None
        return "file" if path not in self.bucket.dirs else None

    def node(self, path):
        """Of a file that is there."""
        if path in self.staged:
            return self.staged[path]
        node = self.opened.get(path)
        if node and node.etag == self.bucket.etag(path):
            return node
        return Node(path, self.bucket.data(path), self.bucket.etag(path))

    def clashes(self, path):
        """File and directory of one name with a dot, and not listed since: the directory
        wins only then."""
        return any("." in p and p in self.bucket.keys and p in self.bucket.dirs
                   and self.bucket.moved(p) > self.listed for p in (*parents(path), path))

    def uncertain(self, path):
        """A removal of ours hides the name until it has found that the bucket has another
        by now; or the kernel may still believe what it was told before."""
        now = time.monotonic()
        if self.clashes(path):
            return True
        for p in (*parents(path), path):
            if p in self.staged:
                continue
            if self.unnoticed(p):
                return True
            if self.landing and self.kind(p) and any(
                    self.landing.get(k, 0) > now for k in (p, p + "/")):
                return True
            if self.recent and any(until > now for key, (until, _) in self.recent.items()
                   if key == p or key.startswith(p + "/")):
                return True
        return False

    def unnoticed(self, path):
        """A removal of ours is pending, perhaps, and others have put something there.  A
        directory in the place of a removed file is believed once it was listed, as long as
        no listing is without it; a file in that of a removed directory is asked for, once
        the bucket has no marker of that."""
        below = [k for k in self.bucket.below(path) if not self.hides(k)]
        if below and path + "/" in self.removed:
            return True
        if path not in self.removed:
            return False
        if below:
            return self.bucket.moved(path) > self.listed
        return path in self.bucket.keys and not self.hides(path)

    def fails(self, path):
        """The errno of what walks to path, or 0."""
        for p in parents(path):
            kind = self.kind(p)
            if kind != "dir":
                return errno.ENOTDIR if kind else errno.ENOENT
        return 0

    def tree(self):
        """path -> size, or None of a directory."""
        found, out = set(), {}
        for key in list(self.bucket.keys) + list(self.staged):
            found.update(shown(key))
        for path in sorted(found):
            above = parents(path)
            if above and (above[-1] not in out or out[above[-1]] is not None):
                continue
            kind = self.kind(path)
            if kind:
                out[path] = len(self.node(path).data) if kind == "file" else None
        return out
