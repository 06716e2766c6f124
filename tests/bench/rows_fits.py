"""rows_fits.py - what astronomers' tools do."""
import os

import limits
import work
from rows import Figure, Row


class Fits(Row):
    kinds, file, job, args = ("mount", "fsspec"), "cal", "", {}
    about = "the same on the local disk, and one warm GET of 256 KiB"

    def prepare(self, world):
        world.put(self.origin, self.file)

    def ask(self, world, client, name=None):
        local = world.file(self.file)
        return work.run(self.job, client.job_env(), local=local,
                        path=client.path(name or os.path.basename(local)), **self.args)

    def bare(self, world, link):
        """One round: no reader of an object can do without."""
        url = world.origin(self.origin).url(os.path.basename(world.file(self.file)), link.port)
        warm = limits.Warm(url)
        secs = warm.get(0, 256 << 10)
        warm.close()
        return secs

    def run(self, world, client, link):
        done = self.ask(world, client)
        done["limit"]["s"] += self.bare(world, link)
        return done


class FirstHeader(Fits):
    name, title = "fits-open", "fits.open and first header, 500 MB"
    file, job, counted = "big", "first_header", True
    figures = (Figure("gets", "data GETs", "", "value", 1), Figure("s", "", "s", "value", None))


class Info(Fits):
    """Twice: everything unknown, then, for who can, with the layout known and the blocks
    gone."""
    name, title, file, job, counted = "fits-info", "hdul.info(), 20 HDUs of 10 MB", "hdus20", \
        "info", True
    figures = (Figure("known_rounds", "layout known, rounds", "", "value", 2),
               Figure("known_s", "layout known", "s", "value", 0.15),
               Figure("rounds", "unknown, rounds", "", "value", 6),
               Figure("s", "unknown", "s", "value", 0.45))

    def run(self, world, client, link):
        done = super().run(world, client, link)
        if not hasattr(client, "forget_blocks"):
            return done
        world.settle()
        client.leave()
        client.forget_blocks()
        client.start()
        again = self.ask(world, client)
        client.leave()  # what its connections carried is known now
        asked = world.counts(link, again)
        return {**done, "known_s": again["s"], "known_rounds": asked.get("rounds")}


class Cutouts(Fits):
    job = "cutouts"

    def __init__(self, how, bar):
        self.name, self.title = "cutouts-" + how, "20 cutouts 100x100 by " + how
        self.args, self.how = {"how": how, "seed": 1}, how
        self.kinds = ("mount", "fsspec") if how == "section" else ("mount",)
        self.figures = (Figure("s", "", "s", "value", bar),)


class Whole(Fits):
    """Then another of the same kind, as a pipeline reads one exposure after the other."""
    name, title, job, about = "whole", "datamodels-like whole read, 117 MB", "whole", \
        "16-way curl"
    kinds = ("mount",)
    figures = (Figure("s", "the first", "s", "of", 0.85),
               Figure("next_s", "the next of its kind", "s", "of", 0.85))

    def prepare(self, world):
        super().prepare(world)
        world.origin(self.origin).put("next.fits", world.file(self.file))

    def limit(self, world, port):
        local = world.file(self.file)
        url = world.origin(self.origin).url(os.path.basename(local), port)
        secs = limits.curl(url, os.path.getsize(local))
        return {"s": secs, "next_s": secs}

    def run(self, world, client, link):
        done = self.ask(world, client)
        world.settle()
        return {**done, "next_s": self.ask(world, client, "next.fits")["s"]}


ROWS = [FirstHeader(), Info(), Cutouts("mmap", 0.40), Cutouts("section", 0.40), Whole()]
