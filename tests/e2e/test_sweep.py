"""The daemon is killed before, or refused, one system call after the other (P2, P3, P4)."""
import os

import pytest

import lib
from oracle import Broken
from sweep import KINDS, Sweep

# Of about 2500 points, and at least one of each kind of each call.
EVERY = int(os.environ.get("MASTFS_SWEEP", 60 if os.environ.get("CI") else 150))


@pytest.mark.skipif(bool(lib.SANITIZER), reason="strace and a sanitizer do not go together")
@pytest.mark.parametrize("upload", ["close", "background"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_call_may_be_the_last(folder, mount, upload, kind):
    lib.need_program("strace")
    seed = lib.seed_of_the_day()
    commits = os.path.join(folder, "commits")
    store = lib.S3dStore(folder, "--commits", commits)
    try:
        sweep = Sweep(folder, store, commits, upload)
        bad = []
        points = [p for p in sweep.points(EVERY, seed) if p.kind == kind]
        # Half of them each way to upload, and with the next seed the other way.
        for point in points[(seed + (upload == "close")) % 2::2]:
            try:
                sweep.try_point(point)
            except Broken as err:
                bad.append("%s\nagain: tests/torture sweep --upload %s --only %s" % (
                    err, upload, point))
        print(sweep.summary())
        assert sweep.count["acknowledged"] > 0
        assert kind != "kill" or 2 * sweep.count["ended"] >= sweep.count["kill"]
        assert not bad, "\n".join(bad)
    finally:
        store.stop()
