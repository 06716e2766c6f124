"""Random operations against a model.

Over s3d, whose log of commits is the oracle: two mounts and another client, the model of
tests/stress, which `tests/torture model` runs for hours, with other operations each day.
Over a local bucket: one mount and a few files, against bytes in memory, others each time.
A failure prints its seed; MASTFS_SEED=N repeats it.
"""
import mmap
import os
import random
import time

import pytest

import lib
import model_ops
from lib import body, difference
from model_run import Run

OPS = 400
MOST = 3 << 20
SHARED_OPS = 100 if lib.SANITIZER else 1000  # each way to upload


@pytest.mark.parametrize("upload", ["close", "background"])
def test_two_mounts_and_another_client(folder, mount, upload):
    seed = lib.seed_of_the_day()
    print("again: tests/torture model --seed %d --ops %d --upload %s" % (
        seed, SHARED_OPS, upload))
    commits = os.path.join(folder, "commits")
    store = lib.S3dStore(folder, "--commits", commits)
    try:
        run = Run(store, commits, [mount(store, **Run.options(upload)) for _ in range(2)],
                  upload)
        run.run(model_ops.make(seed, SHARED_OPS))
        assert run.counts["put"] and run.counts["their_put"]
        assert run.counts.get("kill") or SHARED_OPS < 1000  # of 100, half have none
    finally:
        store.stop()


class Model:
    def __init__(self, m, rand):
        self.m, self.rand = m, rand
        self.files, self.fds, self.said = {}, {}, []

    def path(self, name):
        return self.m.path(name)

    def span(self, size):
        off = self.rand.randrange(size + 1)
        return off, self.rand.choice((1, 10, 4096, 5000, 70000, 300000))

    def fd(self, name):
        """Some files stay open for a while, so that changes meet open handles."""
        if name not in self.fds:
            self.fds[name] = os.open(self.path(name), os.O_RDWR)
        return self.fds[name]

    def release(self, name):
        if name in self.fds:
            os.close(self.fds.pop(name))

    def op_create(self, name):
        self.release(name)
        data = body(self.rand.choice((0, 1, 5000, 262144, 1 << 20)), self.rand.randrange(99))
        lib.write(self.path(name), data)
        self.files[name] = bytearray(data)

    def op_write(self, name):
        data = self.files[name]
        off, n = self.span(min(MOST, len(data) + 100000))
        new = body(n, self.rand.randrange(99))
        assert os.pwrite(self.fd(name), new, off) == n
        data.extend(bytes(max(0, off - len(data))))
        data[off:off + n] = new

    def op_truncate(self, name):
        size = self.rand.randrange(min(MOST, len(self.files[name]) * 2 + 1000))
        if self.rand.random() < 0.5:
            os.ftruncate(self.fd(name), size)
        else:
            os.truncate(self.path(name), size)
        data = self.files[name]
        del data[size:]
        data.extend(bytes(size - len(data)))

    def op_append(self, name):
        new = body(self.rand.choice((1, 4097, 100000)), self.rand.randrange(99))
        with open(self.path(name), "ab", buffering=0) as f:
            f.write(new)
        self.files[name].extend(new)

    def op_map(self, name):
        data = self.files[name]
        if not data:
            return
        off, n = self.span(len(data) - 1)
        n = min(n, len(data) - off, 5000)
        new = body(n, self.rand.randrange(99))
        with mmap.mmap(self.fd(name), 0, mmap.MAP_SHARED) as view:
            self.compare(name, off, view[off:off + n])
            view[off:off + n] = new
            if self.rand.random() < 0.5:
                view.flush()
        data[off:off + n] = new

    def op_rename(self, name):
        to = self.rand.choice(("a", "b", "c", "d.part", "e.tmp"))
        if to == name:
            return
        self.release(to)
        self.release(name)
        os.rename(self.path(name), self.path(to))
        self.files[to] = self.files.pop(name)

    def op_unlink(self, name):
        self.release(name)
        os.unlink(self.path(name))
        del self.files[name]

    def op_fsync(self, name):
        os.fsync(self.fd(name))

    def op_close(self, name):
        self.release(name)

    def op_read(self, name):
        off, n = self.span(len(self.files[name]))
        if self.rand.random() < 0.5:
            got = os.pread(self.fd(name), n, off)
        else:
            with open(self.path(name), "rb", buffering=0) as f:
                got = os.pread(f.fileno(), n, off)
        self.compare(name, off, got, n)

    def compare(self, name, off, got, n=None):
        want = bytes(self.files[name][off:off + (len(got) if n is None else n)])
        text = difference(got, want)
        assert not text, "%s at %d: %s" % (name, off, text)

    def op_stat(self, name):
        assert os.stat(self.path(name)).st_size == len(self.files[name])
        assert sorted(os.listdir(self.m.point)) == sorted(self.files)

    def op_remount(self, name):
        for n in list(self.fds):
            self.release(n)
        self.m.remount()
        self.check()

    def check(self):
        for name, want in self.files.items():
            text = difference(lib.read(self.path(name)), bytes(want))
            assert not text, "%s: %s" % (name, text)

    def step(self):
        ops = [o for o in sorted(dir(self)) if o.startswith("op_")]
        weights = [{"op_write": 8, "op_read": 8, "op_map": 4, "op_truncate": 3,
                    "op_append": 4, "op_stat": 3, "op_close": 4, "op_rename": 3,
                    "op_remount": 0.3}.get(o, 1) for o in ops]
        op = self.rand.choices(ops, weights)[0]
        name = self.rand.choice(sorted(self.files) or ["a"])
        if op == "op_create" or name not in self.files:
            op, name = "op_create", self.rand.choice(("a", "b", "c", "d.part", "e.tmp"))
        self.said.append("%s %s %d" % (op, name, len(self.files.get(name, ()))))
        getattr(self, op)(name)


@pytest.mark.stores("local")
@pytest.mark.parametrize("upload", ["close", "background"])
def test_random_operations(store, mount, upload):
    seed = int(os.environ.get("MASTFS_SEED", time.time_ns() % 1000000))
    model = Model(mount(store, upload=upload), random.Random(seed))
    try:
        for _ in range(OPS):
            model.step()
        for name in list(model.fds):
            model.release(name)
        model.check()
        model.m.umount()
        want = {n: bytes(d) for n, d in model.files.items() if "." not in n}
        assert store.files() == sorted(want)
        for name, data in want.items():
            text = difference(store.get(name), data)
            assert not text, "in the bucket, %s: %s" % (name, text)
        assert store.uploads() == []
    except (AssertionError, OSError):
        print("MASTFS_SEED=%d, the last of it: %s" % (seed, "; ".join(model.said[-12:])))
        raise
    finally:
        for name in list(model.fds):
            try:
                model.release(name)
            except OSError:
                pass
