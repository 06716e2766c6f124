"""oracle.py - what a mount and its bucket may hold, by what the writers said (writer.py).

An operation that was acknowledged has happened.  One that failed, or that the kill cut off,
has happened wholly or not at all; several names that it changes change together.
"""
import collections
import functools
import hashlib

from content import body

GONE, DIR = None, "dir"
ABOUT = 25  # events told of a name that is wrong
DUE_MANY = 1000  # of one name


class Broken(AssertionError):
    """A promise was.  kind: lost, wrong, order, mount, crashed, hung, vacuous."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def frozen(contents):
    """Two empty files are the same, whatever they were to become."""
    if not isinstance(contents, (list, tuple)):
        return DIR if contents == DIR else contents
    return (0, *contents[1:]) if not contents[1] else tuple(contents)


@functools.lru_cache(256)
def digest(contents):
    seed, size = contents[:2]
    return hashlib.sha256(body(size, seed) + bytes(sum(contents[2:]))).hexdigest()


def length(contents):
    return sum(contents[1:])


def describe(got):
    return "nothing" if got is GONE else "a directory" if got is DIR else "%d bytes" % len(got)


class Prefix:
    """A file that grows: at least so many bytes of it are there."""

    def __init__(self, seed, least, most):
        self.seed, self.least, self.most = seed, least, most

    def __repr__(self):
        return "%d to %d bytes of %d" % (self.least, self.most, self.seed)

    def of(self, size):
        return frozen((self.seed, size)) if self.least <= size <= self.most else ()


def allows(want, contents):
    if isinstance(want, Prefix):
        return isinstance(contents, tuple) and want.of(contents[1]) == contents
    return want == contents


def match(want, got):
    """The contents that got is, if want allows it; else ()."""
    if want is GONE or want is DIR or got is GONE or got is DIR:
        return want if want is got else ()
    found = want.of(len(got)) if isinstance(want, Prefix) else want
    if not found or len(got) != length(found):
        return ()
    return found if got == body(found[1], found[0]) + bytes(sum(found[2:])) else ()


def without_repeats(due):
    """A directory that is moved to and fro doubles what is due each time: of a long list the
    first and the last of each are enough to tell the order by."""
    if len(due) <= DUE_MANY:
        return due
    first, last = {}, {}
    for at, want in enumerate(due):
        name = repr(want) + getattr(want, "sha256", "")
        first.setdefault(name, at)
        last[name] = at
    return [due[at] for at in sorted({*first.values(), *last.values()})]


class Version:
    """One that the bucket had, by what it said of it."""

    def __init__(self, size, sha256):
        self.size, self.sha256 = size, sha256

    def __repr__(self):
        return "what was there (%d bytes)" % self.size


class Together:
    """An operation on several names that may have been cut off."""

    def __init__(self, by, before, outcomes):
        self.by, self.before, self.outcomes = by, before, [{}, *outcomes]

    def allows(self, now):
        return any(all(now[n] == o[n] if n in o else
                       any(allows(b, now[n]) for b in self.before[n]) for n in self.before)
                   for o in self.outcomes)


class Oracle:
    def __init__(self):
        self.may = {}  # name -> list of contents or Prefix
        self.together = []
        self.doing = {}  # writer -> its announced operation
        self.said = []
        self.touched = set()
        self.acknowledged = self.failed = 0
        self.done = collections.Counter()  # of what kinds those acknowledged were
        self.due = {}  # name -> what was announced and no commit was seen of, in order
        self.last = {}  # name -> the last commit; none of a deletion

    # --- listening ---

    def hear(self, event):
        self.said.append(event)
        if len(self.said) > 4000:
            del self.said[:2000]
        by = event["by"]
        if "wrong" in event:
            raise Broken("wrong", "%s\n%s" % (event["wrong"], self.about(
                event["wrong"].split()[0])))
        if "do" in event:
            self.begin(event)
            self.doing[by] = event
        elif "wrote" in event:
            (name, (seed, end)), = self.doing[by]["set"].items()
            self.may[name] = [Prefix(seed, event["wrote"], end)]
        elif "synced" in event:
            (name, (seed, end)), = self.doing[by]["set"].items()
            self.may[name] = [Prefix(seed, event["synced"], end)]
        elif "ok" in event:
            did = self.doing.pop(by)
            self.done[did["do"]] += 1
            for name, contents in did["set"].items():
                self.may[name] = [frozen(contents)]
            self.together = [t for t in self.together if t.by != by]
            self.acknowledged += 1
        elif "failed" in event:
            self.failed += 1
            self.doing.pop(by)

    def begin(self, event):
        made = {n: frozen(c) for n, c in event["set"].items()}
        before = {n: list(self.may.get(n, [GONE])) for n in made}
        self.together = [t for t in self.together if not set(t.before) & set(made)]
        if len(made) > 1:
            also = [{n: frozen(c) for n, c in a.items()} for a in event.get("or", [])]
            self.together.append(Together(event["by"], before, [made, *also]))
        for name, was in event.get("was", {}).items():
            # What is staged is moved here and may be younger than what the bucket copies.
            there = [Version(*self.last[was])] if was in self.last else []
            self.due[name] = without_repeats(self.due.get(name, []) + there + [
                d for d in self.due.get(was, []) if d is not GONE])
        for name, contents in made.items():
            self.touched.add(name)
            if event["do"] == "part":
                resumed = event["from"] is not None
                contents = Prefix(contents[0], event["from"] or 0, contents[1])
                before[name] = [] if resumed else before[name]
            else:
                if event.get("sync") is not None:
                    contents = Prefix(contents[0], event["sync"], contents[1])
                if not name.endswith(".part"):
                    self.due.setdefault(name, []).append(contents)
            self.may[name] = [*before[name], contents]

    def about(self, name):
        """The last that was said of a name, for the message."""
        stem = name.replace(".part", "")
        kept, mine = [], {}
        for event in self.said:
            if "do" in event:
                mine[event["by"]] = any(n.replace(".part", "") == stem for n in event["set"])
            if mine.get(event["by"]) or "kill" in event:
                kept.append(event)
        return "\n".join("  %s" % e for e in kept[-ABOUT:])

    # --- judging ---

    def settle(self, name, got, where):
        """got: bytes, GONE or DIR.  From here on this is what is there."""
        for want in self.may.get(name, [GONE]):
            found = match(want, got)
            if found != ():
                self.may[name] = [found]
                return
        lost = got is GONE or (got is not DIR and any(
            length(w) > len(got) for w in self.may[name] if isinstance(w, tuple)))
        raise Broken("lost" if lost else "wrong", "%s: %s has %s; it may be %r\n%s" % (
            where, name, describe(got), self.may.get(name), self.about(name)))

    def settle_together(self, where):
        """After settle of each name: nothing of an operation is there without the rest.
        What was copied by one that is undone now may be undone in the bucket."""
        for t in self.together:
            now = {n: self.may[n][0] for n in t.before}
            for name, contents in now.items():
                self.due.setdefault(name, []).append(contents)
            if not t.allows(now):
                raise Broken("lost", "%s: half of an operation: %r; before %r, to become one of"
                             " %r\n%s" % (where, now, t.before, t.outcomes,
                                          self.about(next(iter(now)))))
        self.together, self.doing = [], {}

    def known(self, by):
        """name -> contents, of this writer's names."""
        return {n: m[0] for n, m in self.may.items() if n.startswith(by)}

    def commit(self, key, op, size=0, sha256=""):
        """A change of the bucket: one that was announced, and none before the last one."""
        name, due = key.rstrip("/"), self.due.get(key.rstrip("/"), [])
        # The same bytes again are no other version: a copy, which has no condition, was
        # repeated, or the bytes are those that it replaces, and so is the ETag.
        if op != "delete" and self.last.get(key) == (size, sha256):
            return
        if op == "delete":
            self.last.pop(key, None)
        else:
            self.last[key] = size, sha256
        for at, want in enumerate(due):
            if isinstance(want, Prefix):
                want = want.of(size)
            if op == "delete":
                found = want is GONE
            elif isinstance(want, Version):
                found = (want.size, want.sha256) == (size, sha256)
            elif key != name:
                found = want is DIR
            else:
                found = isinstance(want, tuple) and want and length(want) == size and (
                    digest(want) == sha256)
            if found:
                del due[:at + 1]
                return
        raise Broken("order", "%s: the bucket got a %s of %d bytes, which is no version that was"
                     " due: %r\n%s" % (key, op, size, due, self.about(name)))
