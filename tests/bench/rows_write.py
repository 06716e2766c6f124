"""rows_write.py - what is written: when the bucket has it, and what that costs."""
import os
import statistics
import time

import lib
import limits
import link as links
import work
from peers import S3fs
from rows import Figure, Row

KIB64 = 64 << 10
APPEND = 5_000_000
HEAD_MAX = 4096  # bytes of a request without its body
now = time.monotonic


def puts(requests):
    return [r for r in requests if r.method == "PUT"]


class Upload(Row):
    """Written as the application's downloader does.  The bucket is looked at directly:
    some clients' rename returns before the object is there."""
    counted, file, unique = True, "big", 0

    def object(self, world):
        """A new name each time: nothing is overwritten."""
        self.unique += 1
        return "%s%d.fits" % (self.name, self.unique)

    def wait_there(self, world, name, size):
        store = world.origin(self.origin).store

        def there():
            try:
                head = store.s3.head_object(Bucket=store.bucket, Key=lib.PREFIX + name)
            except store.s3.exceptions.ClientError:
                return False
            return head["ContentLength"] == size
        return there() or (lib.wait(name + " in the bucket", there, 120) and now())

    def append(self, world, client, name):
        local = world.file(self.file)
        done = work.run("appends", path=client.path(name), local=local, step=APPEND)
        there = self.wait_there(world, name, os.path.getsize(local))
        done["end"] = done["end"] if there is True else there
        client.leave()  # only then are the last answers logged
        lib.same(world.origin(self.origin).store.get(name), lib.read(local))
        return done


class Parts(Upload):
    name, title = "parts", "500 MB in 5 MB appends to .part, renamed"
    about = "the same parts by a bare multipart upload, 16 at once"
    figures = (Figure("s", "until the object is there", "s", "times", 1.10),)

    def limit(self, world, port):
        sign = world.origin(self.origin).signer(self.object(world), port)
        return {"s": limits.multipart(sign, world.file(self.file), world.folder)}

    def run(self, world, client, link):
        done = self.append(world, client, self.object(world))
        return {**done, "s": done["end"] - done["start"]}


class Rename(Upload):
    """From the link's log: what comes after the last part."""
    name, title, file, peers = "rename", "rename of a 117 MB .part", "cal", False
    figures = (Figure("last_rounds", "rounds after the last part", "", "value", 2),
               Figure("late_ms", "after the last part", "ms", "value", None),
               Figure("copies", "server-side copies", "", "value", 0),
               Figure("sent", "uploaded, of the size", "", "value", 1.01))

    def run(self, world, client, link):
        name = self.object(world)
        done = self.append(world, client, name)
        asked = link.between(done["start"], done["end"])
        parts = [r for r in puts(asked) if name in r.target]
        last = max(r.end for r in parts)
        after = [r for r in asked if r.start > last]
        return {**done, "last_rounds": links.rounds(after),
                "late_ms": (done["end"] - max(last, done["rename"])) * 1e3,
                "sent": sum(r.came for r in puts(asked)) / os.path.getsize(world.file(self.file)),
                # A copy is a PUT without a body.
                "copies": sum(r.came < HEAD_MAX for r in puts(asked))}


class Close(Row):
    """In a directory that has been listed, as after a program's first look at it."""
    name, title, counted = "close", "close of a 64 KiB file", True
    about = "a bare PUT of 64 KiB on a warm connection"
    count = 100
    figures = (Figure("over", "median, beyond the PUT's", "ms", "value", 5),
               Figure("p50", "median", "ms", "times", None),
               Figure("puts", "PUTs a file", "", "value", 1),
               Figure("asked", "requests a file", "", "value", 1))

    def run(self, world, client, link):
        origin = world.origin(self.origin)
        beside = world.link(self.origin, self.link, True, "bare")
        urls = [origin.signer("bare%d" % n, beside.port)("put_object")
                for n in range(self.count)]
        os.listdir(client.path())
        done = work.run("closes", folder=client.path(), urls=urls, size=KIB64)
        asked, want = link.between(done["start"], done["end"]), bytes.fromhex(done["hex"])
        for n in range(self.count):
            lib.same(origin.store.get("close%d" % n), want)
        mine, bare = statistics.median(done["took"]), statistics.median(done["bare"])
        return {"start": done["start"], "end": done["end"], "over": mine - bare, "p50": mine,
                "limit": {"p50": bare}, "puts": len(puts(asked)) / self.count,
                "asked": len(asked) / self.count}


class Many(Row):
    name, title, counted = "many", "1,000 files of 64 KiB, background", True
    about = "the same PUTs by curl over 16 connections"
    upload, count = "background", 1000
    figures = (Figure("s", "until the bucket has them", "s", "of", 0.8),
               Figure("wrote", "until they are written", "s", "value", None),
               Figure("asked", "requests a file", "", "value", 1))

    def limit(self, world, port):
        sign = world.origin(self.origin).signer
        source = os.path.join(world.folder, "many")
        lib.write(source, os.urandom(KIB64))
        secs, _ = limits.curl_puts([(source, sign("limit%d" % n, port)("put_object"))
                                    for n in range(self.count)], world.folder)
        return {"s": secs}

    def run(self, world, client, link):
        store = world.origin(self.origin).store
        for name in store.files():
            if name.startswith("many"):
                store.delete(name)
        os.listdir(client.path())
        done = work.run("small_files", folder=client.path(), count=self.count, size=KIB64)
        wrote = done["end"] - done["start"]
        lib.wait("%d files in the bucket" % self.count, lambda: sum(
            n.startswith("many") for n in store.files()) == self.count, 300)
        client.leave()
        asked = link.between(done["start"], now())
        done["end"] = max(r.end for r in puts(asked))
        for n in range(self.count):
            assert store.get("many%d" % n) == n.to_bytes(8, "little") * (KIB64 // 8), n
        return {**done, "s": done["end"] - done["start"], "wrote": wrote,
                "asked": len(asked) / self.count}


class Table(Row):
    """The upload is not part of it: cfitsio waits for the disk alone.  It gathers rows in
    blocks of 2880 bytes, so that 4,000 of its writes are few of the kernel's."""
    name, title, link = "table", "cfitsio, a table written in 4,000 small writes", "lan"
    about, upload, times = "the same on the local disk", "background", 7
    action = "table"  # of tests/tools/cfits.c
    figures = (Figure("s", "", "s", "times", 3),)

    def run(self, world, client, link):
        program = os.path.join(world.opts.build, "tests", "tools", "cfits")
        local = os.path.join(world.folder,
                             "%s%d-%s-" % (self.name, world.turn, client.name))
        done = work.run("table", path=client.path(os.path.basename(local)), local=local,
                        program=program, action=self.action, times=self.times)
        return {**done, "s": done["mine"], "limit": {"s": done["limit"]}}


class Flushed(Table):
    """Each row is a write of the kernel's at once: what one request of FUSE's costs."""
    name, title = "flushed", "the same, each of its 4,000 rows flushed"
    action = "flushed"
    figures = (Figure("s", "", "s", "times", None),)


class Replay(Row):
    """The application's calls; it checks its own bytes."""
    name, title, counted, peers = "replay", "replay.py, whole", True, False
    about = "s3fs, the only peer that passes it"
    figures = (Figure("s", "", "s", "times", 0.5),)

    def limit(self, world, port):
        if not S3fs.available(world.opts.tools):
            return None
        at = world.link(self.origin, self.link, self.counted)
        try:
            with world.mounted(S3fs, self.origin, at) as other:
                return {"s": work.run("replay", folder=other.path())["s"]}
        except RuntimeError as err:
            print("  replay: s3fs failed: %s" % err, flush=True)
            return None

    def run(self, world, client, link):
        return work.run("replay", folder=client.path())


ROWS = [Parts(), Rename(), Close(), Many(), Table(), Flushed(), Replay()]
