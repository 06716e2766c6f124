"""rows_read.py - sequential, mapped, random and shared reads of large files."""
import os

import limits
import work
from rows import Figure, Row


class Sequential(Row):
    kinds = ("mount",)

    def __init__(self, link, bar, origin="minio", file="big", peers=True):
        self.link, self.origin, self.file, self.peers = link, origin, file, peers
        self.name = "seq-%s" % (link if origin == "minio" else origin.replace(" ", "-"))
        where = link if origin == "minio" else "%s, %s" % (origin, link)
        self.title = "cold sequential, %s" % where
        self.to_file = link != "wan200"
        self.about = "16-way curl" + (" to a file" if self.to_file else "")
        self.figures = (Figure("s", "", "s", "of", bar),)

    def prepare(self, world):
        world.put(self.origin, self.file)

    def limit(self, world, port):
        origin, local = world.origin(self.origin), world.file(self.file)
        return {"s": limits.curl(origin.url(os.path.basename(local), port),
                                 os.path.getsize(local), world.folder if self.to_file else None,
                                 origin.ca_file)}

    def run(self, world, client, link):
        local = world.file(self.file)
        return work.run("sequential", path=client.path(os.path.basename(local)), local=local)


class MmapScan(Sequential):
    def __init__(self, link, bar):
        super().__init__(link, bar)
        self.name, self.title = "mmap-" + link, "cold mmap scan, %s" % link

    def run(self, world, client, link):
        local = world.file(self.file)
        return work.run("mmap_scan", path=client.path(os.path.basename(local)),
                        want=world.sum(self.file))


class RandomReads(Row):
    job, about = "random_reads", "one GET of 256 KiB on a warm connection"
    count, file = 100, "big"

    def __init__(self, origin="minio", bars=(1.10, 1.4)):
        self.origin, self.peers = origin, origin == "minio"
        self.name = "random" if origin == "minio" else "random-" + origin
        self.title = "cold random 64 KiB" + ("" if origin == "minio" else ", " + origin)
        self.figures = (Figure("p50", "p50", "ms", "times", bars[0]),
                        Figure("p99", "p99", "ms", "times", bars[1]),
                        # Who reads by large blocks has most from memory, and waits long.
                        Figure("mean", "mean", "ms", "times", None))

    def prepare(self, world):
        world.put(self.origin, self.file)

    def run(self, world, client, link):
        local = world.file(self.file)
        name = os.path.basename(local)
        # The bare GETs have a link of their own, not to be counted with the client's.
        beside = world.link(self.origin, self.link, self.counted, "bare")
        url = world.origin(self.origin).url(name, beside.port)
        return work.run(self.job, path=client.path(name), local=local, url=url,
                        count=self.count, seed=world.turn)


class Together(RandomReads):
    job, about, count = "together", "as many GETs of 256 KiB at once", 60

    def __init__(self):
        super().__init__()
        self.name, self.title = "together", "60 random reads together"
        self.figures = (Figure("s", "connections warm, as the limit's", "s", "times", 1.10),
                        Figure("new_s", "connections new", "s", "value", None))


class Cached(Row):
    """Read once, closed, opened again: FUSE pages cold, the disk's pages in memory."""
    name, title, link = "cached", "cached, complete file", "lan"
    about = "the same file on the cache's disk"
    figures = (Figure("seq", "1 MiB reads", "s", "of", 0.97),
               Figure("mmap", "mmap scan", "s", "of", 0.97),
               Figure("rand", "random 4 KiB", "s", "of", 0.90))

    def prepare(self, world):
        world.put(self.origin, "big")

    def run(self, world, client, link):
        local = world.file("big")
        path = client.path(os.path.basename(local))
        work.run("sequential", path=path, local=local)
        world.settle()
        # The very file where there is one: a copy, written in one piece, has larger folios
        # in memory, and is mapped three times as fast as what came piece by piece.
        beside = client.cached_file(os.path.getsize(local)) or local
        return work.run("cached", path=path, local=beside, times=9)


class Readers(Row):
    name, title, counted = "readers", "8 readers of one cold 117 MB file", True
    about = "16-way curl, once"
    figures = (Figure("share", "bytes of the size", "", "value", 1.01),
               Figure("s", "", "s", "value", 1.4))
    count = 8

    def prepare(self, world):
        world.put(self.origin, "cal")

    def limit(self, world, port):
        local = world.file("cal")
        url = world.origin(self.origin).url(os.path.basename(local), port)
        return {"s": limits.curl(url, os.path.getsize(local))}

    def run(self, world, client, link):
        local = world.file("cal")
        args = {"path": client.path(os.path.basename(local)), "want": world.hash("cal")}
        done = work.run_all("hashing", [args] * self.count)
        start, end = min(d["start"] for d in done), max(d["end"] for d in done)
        return {"start": start, "end": end, "s": end - start, "of": os.path.getsize(local)}


class Late(Sequential):
    """Against the same client's speed over the same link that delays none."""

    def __init__(self):
        super().__init__("wan200 late", 0.85)
        self.name, self.title = "late", "2 % of requests 500 ms late, wan200"
        self.counted, self.about = True, "the same client, none late"

    def limit(self, world, port):
        return None

    def run(self, world, client, link):
        late = super().run(world, client, link)
        plain = world.link(self.origin, "wan200", self.counted)
        with world.mounted(type(client), self.origin, plain) as fresh:
            base = super().run(world, fresh, plain)
        return {**late, "limit": {"s": base["s"]}}


ROWS = [Sequential("wan200", 0.97), Sequential("wan", 0.75), Sequential("lan", 0.60),
        Sequential("lan", 0.60, "minio tls", peers=False), MmapScan("wan200", 0.97),
        RandomReads(), Together(), Cached(), Readers(), Late()]
STORES = [row for origin in ("azurite", "fake_gcs")
          for row in (Sequential("wan200", 0.97, origin, peers=False), RandomReads(origin))]
