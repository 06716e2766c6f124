#!/usr/bin/python3
"""writer.py - random changes on a mount, each announced before and acknowledged after.

  writer.py NAME MANIFEST    then on standard input one JSON line a run:
  {"point": MOUNT, "seed": N, "names": {name: contents that are there}, "big": BOOL}

It writes until the mount ends (or does the "script", a list of its operations), says "end" on
standard output, and waits for the next run.
What it does is appended to MANIFEST, one JSON line an event, each synced before it goes on:

  {"by": NAME, "do": OP, "set": {name: contents}, "or": [{...}], "was": {name: name}, "sync": N}
        before: what it will make, what a crash may leave instead, the names from which a
        directory's files come, where it syncs
  {"by": NAME, "wrote": N}   an append returned     {"by": NAME, "synced": N}  an fsync did
  {"by": NAME, "ok": true}   after its last call returned 0
  {"by": NAME, "failed": ERRNO}   {"by": NAME, "wrong": TEXT}   {"by": NAME, "end": ERRNO}

Contents are [seed, size], [seed, size, zeros behind], null for no file, "dir" for a directory.
oracle.py judges what it said.
"""
import errno
import json
import os
import random
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")]
from content import body  # noqa: E402

PART = 8 << 20
SMALL = (0, 1, 4095, 4096, 4097, 5000, 100000, 300001)
# Above 16 MiB a file goes up in parts, above 24 MiB from the first ones on while it grows.
BIG = (PART - 1, PART, PART + 1, 2 * PART + 1, 3 * PART + 7, 4 * PART, 5 * PART + 4097)
CHUNKS = (100, 4097, 65536, 200003)
FILES, DIRS, INSIDE = 5, 3, 3
UNKNOWN = "?"
OVER = (errno.ENOTCONN, errno.ECONNABORTED)


def whole(contents):
    """The bytes of a file."""
    seed, size = contents[:2]
    return body(size, seed) + bytes(sum(contents[2:]))


class Writer:
    def __init__(self, name, manifest):
        self.name = name
        self.manifest = os.open(manifest, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.root, self.rand, self.names, self.big = -1, None, {}, False

    def say(self, **event):
        os.write(self.manifest, (json.dumps({"by": self.name, **event}) + "\n").encode())
        os.fdatasync(self.manifest)

    def run(self, point, seed, names, big=False, script=None):
        self.rand, self.names, self.big = random.Random("%s %s" % (seed, self.name)), names, big
        # Below a mount that ends there is a directory: no path is looked up from outside.
        self.root = os.open(point, os.O_PATH | os.O_DIRECTORY)
        try:
            for op in script or ():
                self.one(getattr(Writer, "op_" + op))
            while not script:
                self.one(self.rand.choice(OPS + (BIG_OPS if self.big else ())))
            self.say(end=0)
        except OSError as err:
            self.say(end=err.errno)
        finally:
            os.close(self.root)

    def one(self, op):
        changes = op(self)  # a generator: first what it announces, then it does it
        try:
            announced = next(changes)
        except StopIteration:
            return
        self.say(**announced)
        self.names.update(dict.fromkeys(announced["set"], UNKNOWN))
        try:
            for said in changes:
                self.say(**said)
        except OSError as err:
            if err.errno in OVER:
                raise
            self.say(failed=err.errno)
            return
        self.names.update(announced["set"])
        self.say(ok=True)

    # --- choosing ---

    def has(self, name):
        return self.names.get(name)

    def is_file(self, name):
        return isinstance(self.has(name), (list, tuple))

    def any_name(self):
        """Of a file, in a directory that is there."""
        names = ["%sf%d" % (self.name, i) for i in range(FILES)]
        for i in range(DIRS):
            folder = "%sd%d" % (self.name, i)
            if self.has(folder) == "dir":
                names += ["%s/g%d" % (folder, j) for j in range(INSIDE)]
        return self.rand.choice(names)

    def some_file(self):
        there = sorted(n for n in self.names if self.is_file(n) and not n.endswith(".part"))
        return self.rand.choice(there) if there else None

    def new(self, size):
        """Where seeds make no difference, or hardly one, there is one only."""
        return [self.rand.randrange(1, 1 << 30) if size > 1 else 0, size]

    def size(self):
        return self.rand.choice(BIG if self.big and self.rand.random() < 0.5 else SMALL)

    # --- doing ---

    def open(self, name, flags):
        return os.open(name, flags, 0o644, dir_fd=self.root)

    def write_all(self, fd, data):
        """A mount that dies in the middle of a write makes it a short one."""
        data = memoryview(data)
        while data:
            data = data[os.write(fd, data[:1 << 20]):]

    def op_sync(self):
        """Written, with an fsync in the middle: from there on a crash leaves what is there."""
        return self.op_write(sync=True)

    def op_large(self):
        """The smallest that goes up in parts."""
        return self.op_write(size=2 * PART + 1)

    def op_write(self, sync=False, size=None):
        name, (seed, size) = self.any_name(), self.new(self.size() if size is None else size)
        half = size // 2 if sync else None
        yield {"do": "write", "set": {name: [seed, size]}, "sync": half}
        with Descriptor(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)) as fd:
            data = body(size, seed)
            if half is not None:
                self.write_all(fd.number, data[:half])
                os.fsync(fd.number)
                yield {"synced": half}
            self.write_all(fd.number, data[half:])

    def op_append(self):
        """Of a whole file, which makes it a new one."""
        name = self.some_file()
        if not name or len(self.has(name)) > 2:
            return
        seed, size = self.has(name)
        more = self.rand.choice(CHUNKS)
        yield {"do": "append", "set": {name: [seed, size + more]}}
        with Descriptor(self.open(name, os.O_WRONLY | os.O_APPEND)) as fd:
            self.write_all(fd.number, body(size + more, seed)[size:])

    def op_truncate(self):
        name = self.some_file()
        if not name or len(self.has(name)) > 2:
            return
        seed, size = self.has(name)
        new = self.rand.choice((0, size // 2, max(0, size - 1), size + 4097))
        yield {"do": "truncate",
               "set": {name: [seed, new] if new <= size else [seed, size, new - size]}}
        if self.rand.random() < 0.5:
            os.truncate("/proc/self/fd/%d/%s" % (self.root, name), new)
            return
        with Descriptor(self.open(name, os.O_RDWR)) as fd:
            os.ftruncate(fd.number, new)

    def op_part(self, name=None):
        """Append to NAME.part, or go on with it; each write is acknowledged by itself."""
        part = (name or self.any_name()) + ".part"
        resumed = self.is_file(part) and self.rand.random() < 0.5
        seed, have = self.has(part) if resumed else (self.rand.randrange(1, 1 << 30), 0)
        large = self.big and self.rand.random() < 0.5
        chunks = ([self.rand.choice(CHUNKS) for _ in range(self.rand.randrange(1, 12))]
                  if not large else [1 << 20] * self.rand.randrange(8, 40))
        end = have + sum(chunks)
        yield {"do": "part", "set": {part: [seed, end]}, "from": have if resumed else None}
        flags = os.O_APPEND if resumed else os.O_CREAT | os.O_TRUNC
        with Descriptor(self.open(part, os.O_WRONLY | flags)) as fd:
            data = body(end, seed)
            for chunk in chunks:
                self.write_all(fd.number, memoryview(data)[have:have + chunk])
                have += chunk
                yield {"wrote": have}

    def op_touch(self):
        """A time of its own, also for what is not finished: the bytes stay as they are."""
        names = sorted(n for n in self.names if self.is_file(n))
        if not names:
            return
        name = self.rand.choice(names)
        yield {"do": "touch", "set": {name: self.has(name)}}
        os.utime(name, (self.rand.randrange(1 << 30),) * 2, dir_fd=self.root)

    def op_finish(self):
        """The end of a download: NAME.part becomes NAME."""
        parts = sorted(n for n in self.names if n.endswith(".part") and self.is_file(n))
        if not parts:
            return
        part = self.rand.choice(parts)
        name = part[:-len(".part")]
        yield {"do": "finish", "set": {name: self.has(part), part: None}}
        os.rename(part, name, src_dir_fd=self.root, dst_dir_fd=self.root)

    def op_rename(self):
        """Of what has an ordinary name, over whatever has the other."""
        name, to = self.some_file(), self.any_name()
        if not name or name == to:
            return
        contents = self.has(name)
        # A store that has no rename copies: both are there for a while, never neither.
        yield {"do": "rename", "set": {name: None, to: contents}, "or": [{to: contents}]}
        os.rename(name, to, src_dir_fd=self.root, dst_dir_fd=self.root)

    def op_copy(self):
        """Within the mount: of a whole object the store copies the bytes."""
        name, to = self.some_file(), self.any_name()
        if not name or name == to:
            return
        contents = self.has(name)
        yield {"do": "copy", "set": {to: contents}}
        with Descriptor(self.open(name, os.O_RDONLY)) as source:
            left = os.fstat(source.number).st_size
            with Descriptor(self.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)) as fd:
                while left:
                    left -= os.copy_file_range(source.number, fd.number, left)

    def op_move(self):
        """A directory and all that is in it get another name together."""
        folders = ["%sd%d" % (self.name, i) for i in range(DIRS)]
        inside = {f: {n[len(f):]: c for n, c in self.names.items()
                      if n.startswith(f + "/") and c is not None} for f in folders}
        full = [f for f in folders if self.has(f) == "dir" and inside[f]
                and UNKNOWN not in inside[f].values()]
        free = [f for f in folders if self.has(f) in (None, "dir") and not inside[f]]
        if not full or not free:
            return
        name, to = self.rand.choice(full), self.rand.choice(free)
        change = {name: None, to: "dir"}
        for rest, contents in inside[name].items():
            change.update({name + rest: None, to + rest: contents})
        yield {"do": "move", "set": change,
               "was": {to + rest: name + rest for rest in inside[name]}}
        os.rename(name, to, src_dir_fd=self.root, dst_dir_fd=self.root)

    def op_unlink(self):
        name = self.any_name()
        if self.has(name) is None:
            return
        yield {"do": "unlink", "set": {name: None}}
        try:
            os.unlink(name, dir_fd=self.root)
        except FileNotFoundError:
            pass

    def op_mkdir(self):
        name = "%sd%d" % (self.name, self.rand.randrange(DIRS))
        if self.has(name) is not None:
            return
        yield {"do": "mkdir", "set": {name: "dir"}}
        os.mkdir(name, 0o755, dir_fd=self.root)

    def op_rmdir(self):
        name = "%sd%d" % (self.name, self.rand.randrange(DIRS))
        full = any(n.startswith(name + "/") and v is not None for n, v in self.names.items())
        if self.has(name) != "dir" or full:
            return
        yield {"do": "rmdir", "set": {name: None}}
        os.rmdir(name, dir_fd=self.root)

    def op_look(self):
        """What is there is what was written, also while it is on its way."""
        name = self.some_file()
        if not name:
            return
        yield {"do": "look", "set": {}}
        with Descriptor(self.open(name, os.O_RDONLY)) as fd:
            got = b"".join(iter(lambda: os.read(fd.number, 1 << 20), b""))
        if got != whole(self.has(name)):
            yield {"wrong": "%s has %d bytes that are not %r" % (
                name, len(got), self.has(name))}


class Descriptor:
    """The error of a close is an error of the operation; that of a second one is not."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            os.close(self.number)
        except OSError:
            if not kind:
                raise


OPS = (Writer.op_write,) * 5 + (Writer.op_part, Writer.op_finish) * 3 + (
    Writer.op_sync, Writer.op_append, Writer.op_truncate, Writer.op_rename, Writer.op_rename,
    Writer.op_unlink, Writer.op_unlink, Writer.op_mkdir, Writer.op_mkdir, Writer.op_rmdir,
    Writer.op_look, Writer.op_copy, Writer.op_copy, Writer.op_move, Writer.op_move)
BIG_OPS = (Writer.op_write, Writer.op_part, Writer.op_finish) * 4


def main():
    writer = Writer(sys.argv[1], sys.argv[2])
    for line in sys.stdin:
        print("go", flush=True)
        writer.run(**json.loads(line))
        print("end", flush=True)


if __name__ == "__main__":
    main()
