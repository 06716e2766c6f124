"""clients.py - the programs that show a bucket as files: mastfs and what is installed of
its peers, each as its users would run it, with a cache on the same disk.

A mount is made fresh (nothing cached) for each measurement, in a folder of its own.
"""
import glob
import os
import shutil
import subprocess
import time

import lib

TICK = os.sysconf("SC_CLK_TCK")


def status(pid, field):
    """A size of /proc/PID/status in bytes."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith(field))


class Client:
    """One mount over origin, reached through port.  stop() leaves nothing behind."""
    name, kind, stores = "", "mount", ("minio", "listing")

    @classmethod
    def available(cls, _tools):
        return shutil.which(cls.name)

    def __init__(self, program, origin, port, folder):
        self.program, self.origin, self.port = program, origin, port
        self.folder = folder
        self.point, self.cache = os.path.join(folder, "mnt"), os.path.join(folder, "cache")
        os.makedirs(self.point)
        os.makedirs(self.cache)
        self.process, self.spent, self.high = None, 0, 0  # of the processes before this

    def command(self):
        raise NotImplementedError

    def cached_file(self, _size):
        """Where the bytes of the one file of that size lie on the cache's disk; None: in no
        file of their own."""
        return None

    def choose(self, _upload):
        """When what was written goes up, for who lets one choose.  Before start()."""

    def env(self):
        user, password = self.origin.keys
        return {"PATH": os.environ["PATH"], "HOME": self.folder, "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password,
                "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self):
        with open(os.path.join(self.folder, "client.log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), env=self.env(), stdout=log,
                                            stderr=log, cwd=self.folder)
        lib.wait("mount of " + self.name, lambda: lib.mounted(self.point)
                 or self.process.poll() is not None, 30)
        if self.process.poll() is not None:
            raise RuntimeError("%s ended: %s" % (self.name, self.log()))
        return self

    def log(self):
        return lib.read(os.path.join(self.folder, "client.log"))[-600:].decode("utf-8", "replace")

    def path(self, name=""):
        return os.path.join(self.point, name)

    def job_env(self):
        """What a program that reads from here needs beside its own."""
        return {}

    def cpu(self):
        """Seconds that the daemon used so far."""
        if not self.running():
            return self.spent
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return self.spent + (int(fields[11]) + int(fields[12])) / TICK

    def running(self):
        return self.process and self.process.poll() is None

    def peak(self):
        return max(self.high, status(self.process.pid, "VmHWM") if self.running() else 0)

    def resident(self):
        return status(self.process.pid, "VmRSS")

    def leave(self):
        """Unmounted, as after a day's work: the cache stays."""
        if self.running():
            self.spent, self.high = self.cpu(), self.peak()
            self.unmount()

    def unmount(self):
        subprocess.run(["fusermount3", "-u", self.point], stderr=subprocess.DEVNULL)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.leave()
        for _ in range(5):
            if not lib.mounted(self.point):
                break
            subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL)
            time.sleep(0.1)
        shutil.rmtree(self.folder, ignore_errors=True)


class Mastfs(Client):
    name = "mastfs"
    stores = ("minio", "minio tls", "azurite", "fake_gcs", "listing")

    @classmethod
    def available(cls, _tools):
        return lib.MASTFS

    def __init__(self, program, origin, port, folder):
        super().__init__(program, origin, port, folder)
        opts = {"log_level": "info", **({"ca_file": origin.ca_file} if origin.ca_file else {})}
        self.mount = lib.Mount(folder, origin.store, opts, env=origin.behind(port))

    def choose(self, upload):
        self.mount.opts["upload"] = upload

    def start(self):
        self.mount.mount()
        self.process = self.mount.process
        return self

    def unmount(self):
        self.mount.umount()

    def log(self):
        return self.mount.tail()

    def cached_file(self, size):
        """The kernel reads this file itself."""
        for path in glob.glob(os.path.join(self.cache, "*", "blocks", "*", "*")):
            if os.path.getsize(path) == size:
                return path
        return None

    def forget_blocks(self):
        """What was learnt of files stays, their bytes go.  Between leave() and start()."""
        for blocks in glob.glob(os.path.join(self.cache, "*", "blocks")):
            for folder, _, names in os.walk(blocks):
                for name in names:
                    os.unlink(os.path.join(folder, name))

    def stop(self):
        try:
            self.leave()
        finally:
            self.mount.force_out()
        shutil.rmtree(self.folder, ignore_errors=True)
