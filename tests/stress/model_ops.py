"""model_ops.py - what the model test does: operations as plain values, made from a seed.

An operation says all that it needs and may be done in any state, so that a list of them is
a test of its own: the shrinker leaves some out and runs the rest.  Few names, and sizes at
the edges of blocks (256 KiB) and parts (8 MiB), so that operations meet.
"""
import random
from dataclasses import dataclass

LEAVES = ("a", "b.f", "t.part")
DIRS = ("d", "e")
FILES = LEAVES + tuple(d + "/" + n for d in DIRS for n in LEAVES)
SIZES = ((0, 8), (1, 8), (1000, 30), (5000, 30), (70000, 8), (262143, 2), (262144, 3),
         (262145, 2), (700001, 2), ((8 << 20) - 1, .05), ((8 << 20) + 1, .05),
         ((24 << 20) + 5, .01))
HOSTILE = ("d//x", "../x", "d/../a", "e/./a", "/a", "d/" + "n" * 256, "e//", "a//b", "b.f/x",
           "d/b.f/x")
WEIGHTS = {"put": 20, "append": 5, "patch": 5, "read": 8, "pread": 6, "map": 6, "stat": 4,
           "rename": 8, "unlink": 5, "mkdir": 4, "rmdir": 3, "truncate": 3, "utime": 2,
           "copy": 3, "race": 2, "open": 5, "hread": 5, "hwrite": 4, "hcut": 1, "close": 5,
           "their_put": 6, "their_delete": 3, "their_oddity": 1, "remount": .4, "kill": .8,
           "wipe": .2}


@dataclass
class Op:
    kind: str
    side: int
    path: str
    to: str
    size: int
    seed: int
    at: float  # where in the file, as a part of its size; also a choice between ways

    def __str__(self):
        return "%s(%d %s%s %d @%.3f)" % (
            self.kind, self.side, self.path,
            " " + self.to if self.kind in ("rename", "copy") else "", self.size, self.at)


def pick_path(rand, kind):
    dirs = kind in ("mkdir", "rmdir") or rand.random() < .08
    if kind in ("mkdir", "rmdir") and rand.random() < .04:
        return "a"
    if kind == "their_oddity":
        return rand.choice(HOSTILE)
    path = rand.choice(DIRS if dirs else FILES)
    if kind.startswith("their") and (path in DIRS or path.endswith(".part")):
        path = rand.choice(("a", "b.f", "d/a", "d/b.f", "e/a"))
    return path


def make(seed, count, sides=2):
    rand = random.Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    sizes, chances = zip(*SIZES)
    made = []
    for n in range(count):
        kind = rand.choices(kinds, weights)[0]
        path = pick_path(rand, kind)
        to = rand.choice(DIRS) if path in DIRS else rand.choice(FILES)
        made.append(Op(kind, rand.randrange(sides), path, to, rand.choices(sizes, chances)[0],
                       (seed << 20) + n, rand.random()))
    return made
