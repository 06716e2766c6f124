"""world.py - what the rows share: files, origins, links, and fresh mounts."""
import contextlib
import hashlib
import os
import shutil
import tempfile
import time

import jobs
import link
import origins

import fitsgen  # tests/tools

SETTLE_S = 1.5


def drop_caches():
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("1")
    except OSError:
        pass  # not root: each mount has pages of its own all the same


def fits_file(path, images):
    with open(path, "wb") as out:
        out.write(fitsgen.primary(os.path.basename(path), "bench"))
        for n, side in enumerate(images, 1):
            fitsgen.image(out, "SCI" if n == 1 else "EXT%d" % n, -32, [side, side], n)
        fitsgen.asdf(out, 40000)
    return path


class World:
    def __init__(self, opts, clients):
        self.opts, self.clients = opts, clients  # class -> program
        self.folder = tempfile.mkdtemp(prefix="mastfs-bench")
        self.files, self.origins, self.links, self.known = {}, {}, {}, {}
        self.turn = 0

    def make(self, kind):
        path = os.path.join(self.folder, kind + ".fits")
        if kind == "big":
            return fits_file(path, [int((self.opts.mb * 1e6 / 4) ** .5)])
        if kind == "hdus20":
            return fits_file(path, [1581] * 20)
        return fitsgen.make("cal", path)

    def file(self, kind):
        """The local copy, on the disk of the caches."""
        if kind not in self.files:
            self.files[kind] = self.make(kind)
        return self.files[kind]

    def sum(self, kind):
        return self.known.get(kind + " sum") or self.learn(kind, "sum", jobs.scan)

    def hash(self, kind):
        def sha(path):
            with open(path, "rb") as f:
                return hashlib.sha256(f.read()).hexdigest()
        return self.known.get(kind + " hash") or self.learn(kind, "hash", sha)

    def learn(self, kind, what, call):
        self.known["%s %s" % (kind, what)] = got = call(self.file(kind))
        return got

    def origin(self, name):
        if name not in self.origins:
            folder = os.path.join(self.folder, name.replace(" ", "-"))
            os.mkdir(folder)
            self.origins[name] = origins.ORIGINS[name](folder)
        return self.origins[name]

    def put(self, origin, kind):
        path = self.file(kind)
        self.origin(origin).put(os.path.basename(path), path)

    def link(self, origin, name, counted, user="clients"):
        key = (origin, name, counted, user)
        if key not in self.links:
            self.links[key] = link.make(name, self.folder, self.opts.build,
                                        self.origin(origin).port, counted)
        return self.links[key]

    def counts(self, at, done):
        """What the origin was asked between start and end of a run.  After the client has
        left: only then are its last answers over."""
        asked = at.between(done["start"], done["end"])
        if asked is None:
            return {}
        found = {"requests": len(asked), "gets": sum(r.data for r in asked),
                 "bytes": sum(r.size for r in asked)}
        if at.program == "shaper":
            found["rounds"] = link.rounds(asked)
        if "of" in done:
            found["share"] = found["bytes"] / done["of"]
        return found

    def settle(self):
        time.sleep(SETTLE_S)

    @contextlib.contextmanager
    def mounted(self, kind, origin, at, upload="close"):
        """A client of this class with an empty cache."""
        program = self.clients.get(kind) or kind.available(self.opts.tools)
        client = kind(program, self.origin(origin), at.port,
                      tempfile.mkdtemp(prefix="m", dir=self.folder))
        try:
            client.choose(upload)
            drop_caches()
            yield client.start()
        finally:
            client.stop()

    def close(self):
        for thing in [*self.links.values(), *self.origins.values()]:
            thing.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
