"""main.py - the command line of tests/torture; see there."""
import argparse
import os
import shutil
import sys
import tempfile
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")]
import lib  # noqa: E402
import cloud  # noqa: E402
from killing import KillLoop  # noqa: E402
from oracle import Broken  # noqa: E402
from sweep import Point, Sweep  # noqa: E402

SERVERS = {"minio": (lib.MinioServer, lib.MinioStore, lib.MINIO),
           "azurite": (cloud.AzuriteServer, cloud.AzuriteStore, cloud.AZURITE),
           "fake-gcs": (cloud.FakeGcsServer, cloud.FakeGcsStore, cloud.FAKE_GCS)}
SCRIPTED = {"s3d": lib.S3dStore, "gcsd": cloud.GcsdStore}


def open_store(name, folder):
    """-> store, its file of commits or None, what ends it."""
    place = os.path.join(folder, "store")
    os.mkdir(place)
    if name in SCRIPTED:
        commits = os.path.join(place, "commits")
        store = SCRIPTED[name](place, "--commits", commits)
        return store, commits, store.stop
    server, kind, program = SERVERS[name]
    if not program:
        sys.exit("tests/torture: no %s here" % name)
    running = server(place)
    return kind(running), None, running.stop


def kill(opts):
    folder = tempfile.mkdtemp(prefix="mastfs-torture-")
    print("tests/torture kill --seed %d --upload %s --store %s: in %s" % (
        opts.seed, opts.upload, opts.store, folder), flush=True)
    store, commits, stop = open_store(opts.store, folder)
    mount = lib.Mount(folder, store, KillLoop.options(
        opts.upload, "2s" if opts.store == "minio" else "60s"))
    loop = KillLoop(folder, store, mount, opts.seed, opts.start, opts.wipe_every, commits)
    loop.progress = lambda: loop.count["cycles"] % 100 == 0 and print(loop.summary(), flush=True)
    t0, broken = time.monotonic(), None
    try:
        loop.run(opts.cycles)
    except Broken as err:
        broken = err
    finally:
        loop.mount.force_out()
        stop()
    print(loop.summary(broken))
    print("%.2f s a cycle: %s" % ((time.monotonic() - t0) / max(1, loop.count["cycles"]), ", ".join(
        "%s %.3f" % (k, v / max(1, loop.count["cycles"])) for k, v in loop.times.items())))
    if broken:
        print("%s\nkept: %s (cache, daemon.log, manifest, store)\nagain: tests/torture kill "
              "--upload %s --store %s --seed %d --from %d --cycles 20" % (
                  broken, folder, opts.upload, opts.store, opts.seed, max(0, loop.cycle - 10)))
        return 1
    shutil.rmtree(folder)
    print("go on with: tests/torture kill --upload %s --store %s --seed %d --from %d" % (
        opts.upload, opts.store, opts.seed, loop.cycle))
    return 0


def sweep(opts):
    if not shutil.which("strace"):
        sys.exit("tests/torture: no strace here (a Debian package)")
    folder = tempfile.mkdtemp(prefix="mastfs-sweep-")
    store, commits, stop = open_store("s3d", folder)
    runs = Sweep(folder, store, commits, opts.upload)
    bad = []
    try:
        points = ([Point.of(p) for p in opts.only] if opts.only
                  else runs.points(opts.every, opts.seed))
        print("tests/torture sweep --seed %d --every %d --upload %s: %d points in %s" % (
            opts.seed, opts.every, opts.upload, len(points), folder), flush=True)
        for point in points:
            try:
                runs.try_point(point)
            except Broken as err:
                bad.append(str(point))
                print("%s\nagain: tests/torture sweep --upload %s --only %s" % (
                    err, opts.upload, point), flush=True)
            if runs.runs % 100 == 0:
                print(runs.summary(), flush=True)
    finally:
        stop()
    print("%s; %d points broke a promise: %s" % (runs.summary(), len(bad), " ".join(bad)))
    if bad:
        print("kept: " + folder)
        return 1
    shutil.rmtree(folder)
    return 0


def arguments():
    parser = argparse.ArgumentParser(prog="tests/torture")
    verbs = parser.add_subparsers(dest="verb", required=True)
    p = verbs.add_parser("kill", help="random kill -9 while files are written")
    p.set_defaults(call=kill)
    p.add_argument("--cycles", type=int, default=1000)
    p.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    p.add_argument("--from", dest="start", type=int, default=0, metavar="CYCLE")
    p.add_argument("--upload", choices=("close", "background"), default="close")
    p.add_argument("--store", choices=(*SCRIPTED, *SERVERS), default="s3d")
    p.add_argument("--wipe-every", type=int, default=50, metavar="N",
                   help="cycles between two looks into the bucket with the cache wiped")
    p = verbs.add_parser("sweep", help="one script, broken off at each system call")
    p.set_defaults(call=sweep)
    p.add_argument("--every", type=int, default=1, metavar="K", help="one of K points")
    p.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    p.add_argument("--upload", choices=("close", "background"), default="close")
    p.add_argument("--only", nargs="+", metavar="CALL:KIND:N", help="these points")
    return parser.parse_args()


def main():
    opts = arguments()
    sys.exit(opts.call(opts))


if __name__ == "__main__":
    main()
