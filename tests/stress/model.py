#!/usr/bin/python3
"""model.py - random operations on two mounts of a bucket and by another client, against a model.

  tests/torture model [--ops N] [--seed S] [--seeds N] [--upload close|background] [--ttl SECS]
                      [--only N,N,...] [--no-shrink]

After each operation the tree of one mount, by turns, is compared whole, and the bytes of one
file; every 10th time both with all sizes, every 100th all bytes.  What fails is shrunk to the fewest operations that still fail, and a line is
printed that runs just those: --only picks operations of the seed by number.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model_ops  # noqa: E402
from model_run import replay  # noqa: E402

SHRINK_SECS = 120


def shrink(numbers, fails, secs=SHRINK_SECS):
    """The fewest that still fail, by leaving out ever smaller pieces."""
    end, size = time.monotonic() + secs, max(1, len(numbers) // 2)
    while size and time.monotonic() < end:
        at = 0
        while at < len(numbers) and time.monotonic() < end:
            fewer = numbers[:at] + numbers[at + size:]
            last = fails(fewer) if fewer else None
            if last is None:
                at += size
            else:
                numbers = fewer[:last + 1]
        size = min(size // 2, len(numbers) // 2) if size > 1 else 0
    return numbers


def one_seed(o, seed):
    ops = model_ops.make(seed, o.ops)
    numbers = [int(n) for n in o.only.split(",")] if o.only else list(range(len(ops)))

    def again(chosen):
        return replay([ops[n] for n in chosen], upload=o.upload, ttl=o.ttl)
    start = time.monotonic()
    failed = again(numbers)
    secs = time.monotonic() - start
    if not failed:
        print("seed %d: %d operations, %.0f a second: as the model has it" % (
            seed, len(numbers), len(numbers) / secs), flush=True)
        return 0
    at, why, tail = failed
    print("seed %d, operation %d, %s: %s\n%s" % (
        seed, numbers[at], ops[numbers[at]], why, tail), flush=True)
    numbers = numbers[:at + 1]
    if o.shrink:
        numbers = shrink(numbers, lambda some: (again(some) or (None,))[0])
        failed = again(numbers) or (0, "not again: it depends on time", "")
        print("shrunk to %d: %s" % (len(numbers), failed[1]))
    for n in numbers[-60:]:
        print("  %d %s" % (n, ops[n]))
    print("again: tests/torture model --seed %d --ops %d --upload %s --ttl %g --no-shrink "
          "--only %s" % (seed, o.ops, o.upload, o.ttl, ",".join(map(str, numbers))), flush=True)
    return 1


def main(argv):
    parser = argparse.ArgumentParser(prog="tests/torture model",
                                     description=__doc__.split("\n")[0])
    parser.add_argument("--ops", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="this many, from --seed on")
    parser.add_argument("--upload", choices=("close", "background"), default="close")
    parser.add_argument("--ttl", type=float, default=0)
    parser.add_argument("--only", default="", help="these operations of the seed")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    o = parser.parse_args(argv)
    return max(one_seed(o, o.seed + n) for n in range(o.seeds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
