#!/usr/bin/python3
"""suites.py - what others have written to try file systems with, over a mount.

  tests/torture suites [NAME...] [--ops N] [--mib N] [--seed S] [--store local|s3d]
                       [--upload close|background|both]

NAME: fio fsx git sqlite zip h5py (all of them).  Each leaves a tree that is compared with one
on the local disk, and again through a new mount without a cache, where only the bucket speaks.
"""
import argparse
import os
import random
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import world  # noqa: E402
import lib  # noqa: E402
from lib import arrived, body, sh, write  # noqa: E402

FSX = world.tool("MASTFS_FSX", "fsx")
# Operations of one process: it unmaps nothing that it reads, and may have 65,530 mappings.
FSX_RUN = 200000
# min: fsx takes the EINVAL of an empty posix_fallocate for one that the file system lacks.
FSX_CONFIG = """
flen = 600000
[opsize]
min = 1
max = 65536
[weights]
close_open = 0.6
invalidate = 2
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 8
fsync = 0.3
fdatasync = 0.3
posix_fallocate = 2
sendfile = 2
posix_fadvise = 1
copy_file_range = 2
"""


def fio(m, _store, folder, size):
    """Checksums inside the blocks; verified where they were written, then from the bucket."""
    shapes = {"seq-4k": ("write", 4096, "psync"), "seq-1m": ("write", 1 << 20, "psync"),
              "rand-odd": ("randwrite", 12345, "psync"), "rand-4k": ("randwrite", 4096, "psync"),
              "mmap-4k": ("randwrite", 4096, "mmap")}
    os.mkdir(m.path("fio"))
    for verify in ("--do_verify=1", "--verify_only"):
        for name, (how, block, engine) in shapes.items():
            sh('cd "$1" && fio --directory="$2/fio" --name="$3" --numjobs=3 --size="$4" '
               '--rw="$5" --bs="$6" --ioengine="$7" --verify=crc32c --verify_fatal=1 --verify_backlog=0 --fallocate=none '
               '--randseed=7 --allrandrepeat=1 %s >fio.log 2>&1 || { tail -c 2000 fio.log >&2; exit 1; }'
               % verify, folder, m.point, name, str(size // block * block), how, str(block),
               engine)
        m.remount(wipe=True)


def fsx(m, store, folder, ops, seed):
    """Random reads, writes, maps and truncations of one file; closed and opened between."""
    place = os.path.join(folder, "fsx")
    os.makedirs(os.path.join(place, "want"), exist_ok=True)
    write(os.path.join(place, "fsx.toml"), FSX_CONFIG.encode())
    os.mkdir(m.path("fsx"))
    log = os.path.join(place, "log")
    for n, done in enumerate(range(0, ops, FSX_RUN)):
        with open(log, "wb") as out:
            code = subprocess.run([FSX, "-f", os.path.join(place, "fsx.toml"), "-N",
                                   str(min(FSX_RUN, ops - done)), "-S", str(seed + n), "-P",
                                   place, m.path("fsx", "f")],
                                  stdout=out, stderr=out, check=False).returncode
        assert code == 0, "fsx -S %d ended with %d: %s" % (
            seed + n, code, lib.read(log)[-3000:])
    write(os.path.join(place, "want", "f"), lib.read(m.path("fsx", "f")))
    arrived(m, store, os.path.join(place, "want"), "fsx")


def git(m, store, folder, source):
    """A clone, commits, a repack with mapped packs, and git's own judgement."""
    env = ('export HOME="$2" GIT_CONFIG_NOSYSTEM=1; c="git -c user.name=x -c user.email=a@b '
           '-c advice.detachedHead=false -c gc.auto=0 -c safe.directory=*"; ')
    if not source:
        source = os.path.join(folder, "origin")
        sh(env + '$c init -q "$1"; cd "$1"; for n in 1 2 3 4 5; do seq $n 500 >f$n; $c add .; '
           '$c commit -qm $n; done', source, folder)
    sh(env + 'cd "$1" && $c clone -q --no-hardlinks "$3" r && cd r && for n in 1 2 3; do '
       'seq $n 3000 >new$n && $c add . && $c commit -qm new$n; done && $c gc -q --prune=now && '
       '$c fsck --full --strict --no-progress && test -z "$($c status --porcelain)"',
       m.point, folder, source)
    sh('cp -r "$1/r" "$2/r"', m.point, folder)
    arrived(m, store, os.path.join(folder, "r"), "r")
    sh(env + 'cd "$1/r" && $c fsck --full --strict --no-progress && $c log -q >/dev/null && '
       'test -z "$($c status --porcelain)"', m.point, folder)


def dump(path):
    with sqlite3.connect(path) as db:
        lines = list(db.iterdump())
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()
    return lines


def churn(path, mode, rows, seed):
    """The same statements for the same seed, in transactions that end both ways."""
    rand = random.Random(seed)
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode = " + mode)
    db.execute("create table t (id integer primary key, name text unique, b blob)")
    for n in range(rows):
        db.execute("insert or replace into t values (?, ?, ?)", (
            rand.randrange(rows), "n%d" % rand.randrange(rows),
            body(rand.choice((0, 10, 3000, 70000)), n)))
        db.execute("delete from t where id = ?", (rand.randrange(rows),))
        if n % 7 == 0:
            db.commit()
        if n % 31 == 0:
            db.rollback()
    db.commit()
    db.execute("vacuum")
    db.close()
    if os.path.exists(path + "-journal"):  # persist keeps it, with numbers of its own in it
        os.unlink(path + "-journal")


def sqlite(m, store, folder, rows, seed):
    """The same statements here and there; .dump of both, and of what is made from a dump."""
    here, there = os.path.join(folder, "db"), m.path("db")
    for root in (here, there):
        os.mkdir(root)
        for mode in ("delete", "truncate", "persist", "wal"):
            churn(os.path.join(root, mode + ".sqlite"), mode, rows, seed)
    for name in sorted(os.listdir(here)):
        want = dump(os.path.join(here, name))
        assert len(want) > rows / 10, "too little to compare: %d rows" % len(want)
        assert dump(os.path.join(there, name)) == want, name
    for root, other in ((here, there), (there, here)):
        again = sqlite3.connect(os.path.join(root, "again.sqlite"))
        again.executescript("\n".join(dump(os.path.join(other, "delete.sqlite"))))
        again.close()
    want = {name: dump(os.path.join(here, name)) for name in os.listdir(here)}
    m.remount(wipe=True)
    assert store.files() == sorted("db/" + name for name in want)
    assert {name: dump(os.path.join(there, name)) for name in os.listdir(there)} == want


def plant(root, count, seed):
    """A tree of small and middling files."""
    rand = random.Random(seed)
    for n in range(count):
        path = os.path.join(root, "d%d" % (n % 7), "e%d" % (n % 3), "f%d.fits" % n)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path, body(rand.choice((0, 1, 5000, 262144, 700001)), n))
        os.utime(path, (1500000000 + 2 * n,) * 2)
    return root


def zipped(m, store, folder, count, seed):
    """zip writes beside its archive and renames; unzip sets times."""
    root = plant(os.path.join(folder, "plain"), count, seed)
    sh('cd "$1" && zip -qr "$2/x.zip" . && unzip -tq "$2/x.zip" >/dev/null && '
       'zip -qd "$2/x.zip" "d0/*" && (cd "$1" && zip -qr "$2/x.zip" d0) && '
       'mkdir "$2/z" && unzip -q "$2/x.zip" -d "$2/z"', root, m.point)
    arrived(m, store, root, "z")


def h5py(m, store, folder, rows, seed):
    """Chunked tables that grow, compressed and plain, through libhdf5's own cache."""
    import h5py as h5
    import numpy

    def data(n, count):
        return numpy.random.default_rng(seed + n).integers(0, 1 << 30, (count, 8))

    here = os.path.join(folder, "h5")
    for root in (here, m.path("h5")):
        os.mkdir(root)
        path = os.path.join(root, "a.h5")
        with h5.File(path, "w") as f:
            f.create_dataset("plain", data=data(0, rows))
            f.create_dataset("grows", data=data(1, rows), maxshape=(None, 8), chunks=(64, 8),
                             compression="gzip")
            f.attrs["made"] = "here"
        for n in range(2, 5):
            with h5.File(path, "r+") as f:
                grows = f["grows"]
                grows.resize(grows.shape[0] + rows, 0)
                grows[-rows:] = data(n, rows)
                f.create_dataset("more%d" % n, data=data(n, rows))
                del f["plain"]
                f["plain"] = data(n, rows + n)
        with h5.File(path, "r") as f:
            assert (f["grows"][:rows] == data(1, rows)).all() and f["grows"].shape[0] == 4 * rows
            assert (f["plain"][...] == data(4, rows + 4)).all()
    m.remount(wipe=True)
    with h5.File(m.path("h5", "a.h5"), "r") as f, h5.File(here + "/a.h5", "r") as want:
        assert sorted(f) == sorted(want) and f.attrs["made"] == "here"
        for name in want:
            assert (f[name][...] == want[name][...]).all(), name
    assert store.files() == ["h5/a.h5"]


def source_of_clone():
    here = os.path.join(world.ROOT, ".git")
    return world.ROOT if os.path.isdir(here) else ""


SUITES = {
    "fio": lambda m, store, folder, o: fio(m, store, folder, o.mib << 20),
    "fsx": lambda m, store, folder, o: fsx(m, store, folder, o.ops, o.seed),
    "git": lambda m, store, folder, o: git(m, store, folder, source_of_clone()),
    "sqlite": lambda m, store, folder, o: sqlite(m, store, folder, o.ops // 500, o.seed),
    "zip": lambda m, store, folder, o: zipped(m, store, folder, o.ops // 1000, o.seed),
    "h5py": lambda m, store, folder, o: h5py(m, store, folder, o.ops // 10, o.seed),
}


def main(argv):
    parser = argparse.ArgumentParser(prog="tests/torture suites",
                                     description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(SUITES))
    parser.add_argument("--ops", type=int, default=1000000, help="of fsx; others follow it")
    parser.add_argument("--mib", type=int, default=256, help="of each of fio's 15 files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("local", "s3d"), default="s3d")
    parser.add_argument("--upload", choices=("close", "background", "both"), default="both")
    o = parser.parse_args(argv)
    unknown = [n for n in o.names if n not in SUITES]
    if unknown:
        parser.error("no suite is called %s" % unknown[0])
    if "fsx" in (o.names or SUITES) and not FSX:
        parser.error("no fsx: tests/run builds it where cargo is")
    for upload in ("close", "background") if o.upload == "both" else (o.upload,):
        for name in o.names or SUITES:
            start = time.monotonic()
            with world.World(o.store) as w:
                m = w.mount(upload=upload)
                SUITES[name](m, w.store, w.folder, o)
                m.umount()
            print("%s, upload=%s: passed in %.0f s" % (name, upload, time.monotonic() - start),
                  flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
