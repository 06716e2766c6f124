"""lib.py - mounts and stores for the end-to-end tests.

A store is a bucket that can also be looked at and changed behind the mount's back.
A Mount is one daemon with its own mount point, cache directory and log.
"""
import errno
import glob
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, *(os.path.join(TESTS, d) for d in ("servers", "tools", "stress"))]
import s3ctl  # noqa: E402
from content import body  # noqa: E402,F401

BUILD = os.environ.get("MASTFS_BUILD", "")
MASTFS = os.path.join(BUILD, "fs", "mastfs")
SANITIZER = os.environ.get("MASTFS_SANITIZE", "")
SLOW = 5 if SANITIZER else 1  # what a sanitizer costs, for deadlines
MINIO = os.environ.get("MASTFS_MINIO", "")
PREFIX = "some/prefix/"
KEPT_ENV = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")


def missing(why):
    """What a test needs is not here: in CI a failure, since there nobody looks at what was
    skipped."""
    import pytest
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def need_program(name):
    if not shutil.which(name):
        missing("no " + name)


def seed_of_the_day():
    """Tomorrow what is random, and what is taken of what is too much for a day, is another; in
    one run it is the same everywhere (tests/run says which).  It is in a failure's output."""
    seed = int(os.environ.get("MASTFS_SEED") or os.environ.get("MASTFS_DAY")
               or time.time() // 86400)
    print("again: MASTFS_SEED=%d" % seed)
    return seed


def wait(what, condition, secs=20):
    """Poll until condition() is true; what it gave is returned."""
    end = time.monotonic() + secs * SLOW
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain: %s (last: %r)" % (secs * SLOW, what, got))
        time.sleep(0.01)


def within(secs, call):
    """What call() gives once it has taken less than secs: where other work comes between, what
    it saw was not what it is about, and it is called again."""
    for _ in range(20):
        start = time.monotonic()
        got = call()
        if time.monotonic() - start < secs:
            return got
    raise AssertionError("20 times it took longer than %g s" % secs)


def difference(got, want):
    """Where two byte strings differ, in words; "" if they do not."""
    if got == want:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b),
              min(len(got), len(want)))
    return "%d bytes, should be %d; first difference at %d: %r, should be %r" % (
        len(got), len(want), at, bytes(got[at:at + 16]), bytes(want[at:at + 16]))


def same(got, want):
    text = difference(got, want)
    assert not text, text


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pread(fd, size, off):
    """All of it: a read may be short where an error follows."""
    got = b""
    while len(got) < size:
        piece = os.pread(fd, size - len(got), off + len(got))
        if not piece:
            break
        got += piece
    return got


def write(path, data, mode="wb"):
    with open(path, mode) as f:
        f.write(data)


def tree(root):
    """Every path below root: files -> size, directories -> None."""
    found = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs:
            found[os.path.relpath(os.path.join(folder, name), root)] = None
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = os.stat(path).st_size
    return found


def alike(a, b):
    """Same names, sizes and bytes."""
    assert tree(a) == tree(b)
    for name, size in tree(a).items():
        if size is not None:
            same(read(os.path.join(a, name)), read(os.path.join(b, name)))


def arrived(m, store, local, name):
    """The tree at name is local's: here, and where nothing but the bucket is left of it."""
    alike(local, m.path(name))
    m.remount(wipe=True)
    alike(local, m.path(name))
    want = sorted(os.path.join(name, n) for n, size in tree(local).items()
                  if size is not None)
    assert [n for n in store.files() if n.startswith(name + "/")] == want
    assert store.uploads() == []


def sh(command, *args, status=0):
    done = subprocess.run(["sh", "-euc", command, "sh", *args], text=True,
                          timeout=200 * SLOW, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode == status and done.stderr == "", (done.returncode, done.stderr)
    return done.stdout


def fails(want, call, *args, **kwargs):
    """call must fail with this errno."""
    try:
        got = call(*args, **kwargs)
    except OSError as err:
        assert err.errno == want, "%s, should be %s" % (
            errno.errorcode.get(err.errno, err.errno), errno.errorcode[want])
        return err
    raise AssertionError("succeeded (%r), should fail with %s" % (got, errno.errorcode[want]))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def mounted(path):
    path = "".join("\\%03o" % ord(c) if c in " \t\n\\" else c for c in str(path))
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


def send_at_once(params, **_):
    """After an empty object that was announced so, MinIO takes the next one after 30 s only."""
    params["headers"].pop("Expect", None)


def client(url, access, secret, **config):
    import boto3
    from botocore.config import Config
    made = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                        aws_access_key_id=access, aws_secret_access_key=secret,
                        config=Config(s3={"addressing_style": "path"},
                                      retries={"max_attempts": 1}, **config))
    made.meta.events.register_last("before-call.s3", send_at_once)
    return made


class LocalStore:
    """A directory as bucket."""
    name = "local"  # its writers work in .mastfs-tmp/

    def __init__(self, folder):
        self.root = os.path.join(folder, "bucket")
        os.mkdir(self.root)
        self.source, self.env = "file://" + self.root, {}

    def path(self, name):
        return os.path.join(self.root, name)

    def put(self, name, data=b"", path=None):
        """As another client would: a new file in the place of the old."""
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        temp = os.path.join(os.path.dirname(self.root), "other")
        if path:
            shutil.copyfile(path, temp)
        else:
            write(temp, data)
        os.rename(temp, self.path(name))

    def get(self, name):
        try:
            return read(self.path(name))
        except FileNotFoundError:
            return None

    def delete(self, name):
        os.unlink(self.path(name))

    def files(self):
        return sorted(n for n, size in tree(self.root).items()
                      if size is not None and not n.startswith(".mastfs-tmp/"))

    def uploads(self):
        return []

    def late_uploads(self, _deaths):
        """Of those, what the server began for a daemon that was dead by then: nobody has its
        id, so no part ever comes, and the look of the next mount may have been before."""
        return []

    def stop(self):
        pass


class S3Store:
    """What MinIO and s3d have in common: looked at with boto3."""

    def setup(self, url, access, secret, bucket):
        self.url, self.bucket = url, bucket
        self.s3 = client(url, access, secret)
        self.source = "s3://%s/%s" % (bucket, PREFIX.rstrip("/"))
        self.env = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": access,
                    "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}

    def get(self, name):
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=PREFIX + name)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None

    def put(self, name, data=b"", path=None):
        if path:
            data = read(path)
        self.s3.put_object(Bucket=self.bucket, Key=PREFIX + name, Body=data)

    def delete(self, name):
        self.s3.delete_object(Bucket=self.bucket, Key=PREFIX + name)

    def keys(self):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sorted(c["Key"] for p in pages for c in p.get("Contents", []))

    def files(self):
        return [k[len(PREFIX):] for k in self.keys()
                if k.startswith(PREFIX) and not k.endswith("/")]

    def uploads(self):
        return [u["Key"] for u in self.s3.list_multipart_uploads(
            Bucket=self.bucket, Prefix=PREFIX).get("Uploads", [])]

    def late_uploads(self, _deaths):
        return []


class S3dStore(S3Store):
    name = "s3d"
    sends = ("PUT",)  # the methods by which an object comes

    def __init__(self, folder, *args):
        self.folder, self.args = folder, args
        self.server = s3ctl.S3d(folder, *args)
        self.setup(self.server.url, self.server.access_key, self.server.secret_key, "test")

    def put(self, name, data=b"", path=None):
        return self.server.put(PREFIX + name, data, path)

    def delete(self, name):
        self.server.delete(PREFIX + name)

    def files(self):
        state = {}
        for c in self.server.commits():
            state[c["key"]] = c["op"] != "delete"
        return sorted(k[len(PREFIX):] for k, there in state.items()
                      if there and k.startswith(PREFIX) and not k.endswith("/"))

    def uploads(self):
        return [u["key"] for u in self.server.uploads()]

    def late_uploads(self, deaths):
        return [u["key"] for u in self.server.uploads() if not u["parts"] and any(
            u["arrived"] < died < u["begun"] for died in deaths)]

    def stop(self):
        self.server.stop()


class MinioServer:
    """One for the whole run; each test has a bucket of its own."""

    def __init__(self, folder, scheme="http", more=()):
        self.port = free_port()
        self.url = "%s://127.0.0.1:%d" % (scheme, self.port)
        self.user, self.password = "minioadmin", "minioadmin"
        self.log = open(os.path.join(folder, "minio.log"), "wb")
        os.mkdir(os.path.join(folder, "data"))
        self.process = subprocess.Popen(
            [MINIO, "server", "--quiet", "--address", "127.0.0.1:%d" % self.port,
             *more, os.path.join(folder, "data")], stdout=self.log, stderr=self.log,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "MINIO_BROWSER": "off",
                 "MINIO_ROOT_USER": self.user, "MINIO_ROOT_PASSWORD": self.password,
                 "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off"})
        self.s3 = client(self.url, self.user, self.password)
        wait("MinIO answers", self.alive, 60)

    def alive(self):
        try:
            self.s3.list_buckets()
            return True
        except Exception:  # whatever it is, it is not ready
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()


class MinioStore(S3Store):
    name = "minio"

    def __init__(self, server):
        self.setup(server.url, server.user, server.password, "b" + uuid.uuid4().hex[:12])
        self.s3.create_bucket(Bucket=self.bucket)

    def stop(self):
        pass


def port_of(store):
    return int(store.url.split(":")[2].split("/")[0])


def through(store, url):
    """The store, whose daemons find it there from now on."""
    store.env = {**store.env, "AWS_ENDPOINT_URL": url}
    return store


class Mount:
    def __init__(self, folder, store, opts=None, env=None, build=None, user=None):
        self.folder, self.store = str(folder), store
        self.point = os.path.join(self.folder, "mnt")
        self.cache = os.path.join(self.folder, "cache")
        self.log_path = os.path.join(self.folder, "daemon.log")
        self.opts = {"cache_dir": self.cache, **(opts or {})}
        self.extra_env, self.user = env or {}, user
        self.process, self.deaths = None, []  # when it had ended
        os.makedirs(self.point, exist_ok=True)

    def env(self):
        env = {k: os.environ[k] for k in KEPT_ENV if k in os.environ}
        log = os.path.join(self.folder, "sanitizer")
        env["ASAN_OPTIONS"] = "log_path=%s:detect_leaks=1:abort_on_error=0" % log
        env["UBSAN_OPTIONS"] = "log_path=%s:print_stacktrace=1" % log
        env["TSAN_OPTIONS"] = "log_path=%s:history_size=4" % log
        env["AWS_EC2_METADATA_DISABLED"] = "true"
        env.update(self.store.env)
        env.update(self.extra_env)
        return env

    def command(self, *more):
        opts = ",".join(k if v is True else "%s=%s" % (k, v)
                        for k, v in self.opts.items() if v is not None and v is not False)
        return [*(self.user or []), MASTFS, "mount", self.store.source, self.point, "-o", opts,
                *more]

    def start(self):
        """In the foreground, so that the process is ours to watch and to kill."""
        level = () if "log_level" in self.opts else ("-o", "log_level=debug")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command("-f", *level), env=self.env(),
                                            stdout=log, stderr=log, start_new_session=True)

    def mount(self):
        self.start()
        return self.until_mounted()

    def until_mounted(self):
        try:
            wait("mount", lambda: self.alive() or self.process.poll() is not None, 60)
        except AssertionError:
            raise AssertionError("the mount did not appear\n" + self.tail()) from None
        assert self.process.poll() is None, "mastfs mount ended with %s\n%s" % (
            self.process.returncode, self.tail())
        return self

    def alive(self):
        """A stale mount is a mount, but it does not answer (stat might, from the kernel)."""
        try:
            # In this order: the new daemon takes away the mount of the dead one first, and
            # what is below it answers statvfs too.
            return bool(os.statvfs(self.point)) and mounted(self.point)
        except OSError as err:
            if err.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT):
                return False
            raise

    def run(self, *args, **kwargs):
        return subprocess.run([MASTFS, *args], env=self.env(), text=True, timeout=120 * SLOW,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)

    def umount(self):
        """The daemon drains, leaves and has nothing to say against itself."""
        done = self.run("umount", self.point)
        assert done.returncode == 0, "umount: %d %s\n%s" % (
            done.returncode, done.stderr, self.tail())
        assert not mounted(self.point), "umount returned and the mount is there"
        if self.process:
            code = self.process.wait(60 * SLOW)
            self.ended()
            assert code == 0, "the daemon ended with %d\n%s" % (code, self.tail())
        self.check_sanitizers()

    def remount(self, wipe=False):
        if mounted(self.point):
            self.umount()
        if wipe:
            self.wipe()
        return self.mount()

    def wipe(self):
        shutil.rmtree(self.cache, ignore_errors=True)

    def kill(self, any_end=False):
        """kill -9: what was acknowledged must survive it (P3).  A daemon that had already died
        of something else fails the test here, unless the caller judges the code given."""
        self.process.send_signal(signal.SIGKILL)
        code = self.process.wait()
        self.ended()
        assert any_end or code == -signal.SIGKILL, \
            "before it was killed the daemon ended with %d\n%s" % (code, self.tail())
        return code

    def ended(self):
        self.process = None
        self.deaths.append(time.time())

    def path(self, *names):
        return os.path.join(self.point, *names)

    def journal(self, query):
        """Of a copy: SQLite repairs what it opens, and that is the next mount's to do."""
        copy = os.path.join(self.folder, "journal-copy")
        shutil.rmtree(copy, ignore_errors=True)
        os.mkdir(copy)
        for path in glob.glob(os.path.join(self.cache, "*", "journal.db*")):
            if not path.endswith("-shm"):
                shutil.copy(path, copy)
        db = sqlite3.connect(os.path.join(copy, "journal.db"))
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()

    def rss(self):
        """Peak resident memory in bytes."""
        with open("/proc/%d/status" % self.process.pid) as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM"))

    def disk(self):
        """Bytes that the cache directory occupies, less what is only held back in it."""
        total = 0
        for folder, _, files in os.walk(self.cache):
            for name in set(files) - {"spare"}:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total

    def log(self):
        try:
            return read(self.log_path).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def tail(self, lines=40):
        return "--- daemon's log:\n" + "\n".join(self.log().splitlines()[-lines:])

    def check_sanitizers(self):
        for name in os.listdir(self.folder):
            if name.startswith("sanitizer."):
                raise AssertionError(read(os.path.join(self.folder, name)).decode()[:6000])

    def force_out(self):
        """Whatever state it is in: gone afterwards."""
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None
        for _ in range(5):
            if not mounted(self.point):
                return
            subprocess.run(["fusermount3", "-uz", self.point], stderr=subprocess.DEVNULL)
            if mounted(self.point):
                subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL)
