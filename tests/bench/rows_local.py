"""rows_local.py - listings, saves that stay here, and memory."""
import os
import statistics
import subprocess
import time

import limits
import manykeys
from rows import Figure, Row

now = time.monotonic


def ls(path, out):
    """Seconds of ls -l; what it says of each file is checked."""
    start = now()
    with open(out, "wb") as f:
        subprocess.run(["ls", "-l", path], stdout=f, check=True,
                       env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    secs = now() - start
    with open(out) as f:
        found = [line.split() for line in f][1:]
    want = [(os.path.basename(name), manykeys.size_of(n))
            for n, name in enumerate(manykeys.NAMES)]
    assert [(w[8], int(w[4])) for w in found] == want, "the listing differs"
    return start, secs


class Ls(Row):
    name, title, link, origin = "ls", "ls -l of 100,000 keys, 30 ms a page", "pages", "listing"
    about, counted = "the bare serial LIST calls", True
    figures = (Figure("s", "cold", "s", "times", 1.10),
               Figure("again", "again", "s", "value", 0.6),
               Figure("again_requests", "again, requests", "", "value", 0),
               Figure("restart", "after a restart", "s", "value", 0.6),
               Figure("restart_requests", "restart, requests", "", "value", 0))

    def prepare(self, world):
        world.origin(self.origin)

    def limit(self, world, port):
        secs, keys = limits.serial_list(port, "bench", manykeys.PREFIX)
        assert keys == manykeys.COUNT, keys
        return {"s": secs}

    def run(self, world, client, link):
        done, out = {}, os.path.join(world.folder, "ls.txt")
        for key in ("s", "again", "restart"):
            if key == "restart":
                client.leave()
                client.start()
            start, done[key] = ls(client.path(), out)
            asked = len(link.between(start, now()))
            done[{"s": "cold_requests"}.get(key, key + "_requests")] = asked
            if key == "s":
                done["start"], done["end"] = start, now()
        return done


class Save(Row):
    """What the application does all day: its state files stay on this disk."""
    name, title, link, counted, peers = "save", ".download_state save", "wan200", True, False
    figures = (Figure("p50", "median", "ms", "value", 2),
               Figure("asked", "requests for 300", "", "value", 0))

    def run(self, world, client, link):
        state = client.path(".download_state")
        os.makedirs(state, exist_ok=True)
        text, times, start = "x" * 26000, [], now()
        for _ in range(300):
            t = now()
            with open(state + "/job.json.tmp", "w") as f:
                f.write(text)
            os.replace(state + "/job.json.tmp", state + "/job.json")
            times.append((now() - t) * 1e3)
        end = now()
        with open(state + "/job.json") as f:
            assert f.read() == text, "bytes differ"
        return {"start": start, "end": end, "p50": statistics.median(times),
                "asked": len(link.between(start, end))}


class Memory(Row):
    """Idle; what any of the rows before took at most is added by the report."""
    name, title, link = "memory", "resident memory", "wan200"
    figures = (Figure("idle", "idle", "MiB", "value", 30),
               Figure("most", "at most, any row", "MiB", "value", 256))

    def run(self, world, client, link):
        os.listdir(client.path())
        start = now()
        world.settle()
        return {"start": start, "end": now(), "idle": client.resident() / 2**20}


ROWS = [Ls(), Save(), Memory()]
