#!/usr/bin/python3
"""writer.py - random changes on a mount, each announced before and acknowledged after.

  writer.py ROOT SEED       one JSON line an event on standard output:
  {"do": OP, "name": N, ...} before, {"did": true} after the last call of it returned 0

Ends quietly with the mount (ENOTCONN and the like).  test_crash.py judges what it said.
"""
import json
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content import body  # noqa: E402

SIZES = (0, 1, 5000, 100000, 300001, 2 << 20, 9 << 20)


def say(**event):
    os.write(1, (json.dumps(event) + "\n").encode())


def write_all(f, data):
    """A mount that dies in the middle of a write makes it a short one."""
    data = memoryview(data)
    while data:
        data = data[f.write(data):]


def op_write(root, rand, name):
    seed, size = rand.randrange(1 << 30), rand.choice(SIZES)
    say(do="write", name=name, seed=seed, size=size)
    with open(os.path.join(root, name), "wb", buffering=0) as f:
        data = memoryview(body(size, seed))
        for off in range(0, size, 1 << 20):
            write_all(f, data[off:off + (1 << 20)])


def op_part(root, rand, name):
    """Append to NAME.part; each write is acknowledged by itself."""
    path = os.path.join(root, name + ".part")
    seed, have = rand.randrange(1 << 30), 0
    say(do="part", name=name + ".part", seed=seed, size=0)
    with open(path, "wb", buffering=0) as f:
        for _ in range(rand.randrange(1, 20)):
            n = rand.choice((100, 4097, 65536, 200003))
            write_all(f, body(have + n, seed)[have:])
            have += n
            say(wrote=have)
    return have, seed


def op_download(root, rand, name):
    have, seed = op_part(root, rand, name)
    say(did=True)
    say(do="rename", name=name, seed=seed, size=have)
    os.rename(os.path.join(root, name + ".part"), os.path.join(root, name))


def op_unlink(root, rand, name):
    say(do="unlink", name=name)
    try:
        os.unlink(os.path.join(root, name))
    except FileNotFoundError:
        pass


def main():
    root, rand = sys.argv[1], random.Random(int(sys.argv[2]))
    ops = (op_write, op_write, op_download, op_download, op_part, op_unlink)
    try:
        while True:
            rand.choice(ops)(root, rand, "f%d" % rand.randrange(6))
            say(did=True)
    except OSError as err:
        say(error=str(err))


if __name__ == "__main__":
    main()
