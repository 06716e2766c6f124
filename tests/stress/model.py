#!/usr/bin/python3
"""model.py - random operations on two mounts of a bucket and by another client, against a model.

  tests/torture model [--ops N] [--seed S] [--seeds N] [--jobs N] [--upload close|background]
                      [--ttl SECS] [--only N,N,...] [--no-shrink]

After each operation the tree of one mount, by turns, is compared whole, and the bytes of one
file; every 10th time both with all sizes, every 100th all bytes.  What fails is shrunk to the
fewest operations that still fail, and a line is printed that runs just those: --only picks
operations of the seed by number.  --jobs N runs so many seeds at a time, each in a process
with a server and mounts of its own.
"""
import argparse
import contextlib
import io
import multiprocessing
import os
import sys
import time
from functools import partial

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
    parser.add_argument("--jobs", type=int, default=1, help="so many seeds at a time")
    parser.add_argument("--upload", choices=("close", "background"), default="close")
    parser.add_argument("--ttl", type=float, default=0)
    parser.add_argument("--only", default="", help="these operations of the seed")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    o = parser.parse_args(argv)
    return all_seeds(o, range(o.seed, o.seed + o.seeds))


def kept_back(o, seed):
    """What one has to say is said at once, and not among what others say."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        failed = one_seed(o, seed)
    return failed, said.getvalue()


def at_a_time(o, seeds):
    """Yields whether each failed.  No process is used twice: what a run has left behind is no
    other's."""
    with multiprocessing.get_context("fork").Pool(o.jobs, maxtasksperchild=1) as pool:
        for failed, said in pool.imap_unordered(partial(kept_back, o), seeds):
            print(said, end="", flush=True)
            yield failed


def all_seeds(o, seeds):
    start = time.monotonic()
    results = list(at_a_time(o, seeds) if o.jobs > 1 else (one_seed(o, s) for s in seeds))
    if len(results) > 1:
        secs = time.monotonic() - start
        print("%d seeds, %d failed: %d operations, %.0f a second" % (
            len(results), sum(results), len(results) * o.ops, len(results) * o.ops / secs))
    return max(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
