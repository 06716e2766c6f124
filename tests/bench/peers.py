"""peers.py - how each peer is run: as its own documents advise for large files read once
or many times, with a disk cache."""
import os
import shutil
import subprocess

import lib
from clients import Client

PREFIX = lib.PREFIX.rstrip("/")


class S3fs(Client):
    name = "s3fs"

    def command(self):
        secret = os.path.join(self.folder, "passwd")
        with open(secret, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("%s:%s" % self.origin.keys)
        return [self.program, "%s:/%s" % (self.origin.bucket, PREFIX), self.point, "-f", "-o",
                "url=%s,use_path_request_style,passwd_file=%s,use_cache=%s,ensure_diskfree=0,"
                "parallel_count=16,multipart_size=8"
                % (self.origin.endpoint(self.port), secret, self.cache)]


class Rclone(Client):
    name, more = "rclone", ()

    @classmethod
    def available(cls, tools):
        own = os.path.join(tools, "bench", "bin", "rclone")
        return own if os.access(own, os.X_OK) else shutil.which("rclone")

    def command(self):
        return [self.program, "mount", "bench:%s/%s" % (self.origin.bucket, PREFIX), self.point,
                "--vfs-cache-mode", "full", "--cache-dir", self.cache, "--config", "/dev/null",
                "--use-server-modtime",  # its own is metadata: a HEAD for each name
                *self.more]

    def env(self):
        remote = {"TYPE": "s3", "PROVIDER": "Minio", "ENV_AUTH": "true",
                  "ENDPOINT": self.origin.endpoint(self.port)}
        return {**super().env(), **{"RCLONE_CONFIG_BENCH_" + k: v for k, v in remote.items()}}


class RcloneStreams(Rclone):
    name = "rclone 16 streams"
    more = ("--vfs-read-chunk-size", "8M", "--vfs-read-chunk-streams", "16",
            "--vfs-read-ahead", "128M")

    @classmethod
    def available(cls, tools):
        program = super().available(tools)
        told = program and subprocess.run([program, "mount", "--help"],
                                          stdout=subprocess.PIPE).stdout
        return program if told and b"vfs-read-chunk-streams" in told else None


class MountS3(Client):
    name = "mount-s3"

    def command(self):
        return [self.program, self.origin.bucket, self.point, "--foreground", "--prefix",
                PREFIX + "/", "--endpoint-url", self.origin.endpoint(self.port), "--region",
                "us-east-1", "--force-path-style", "--cache", self.cache,
                "--maximum-throughput-gbps", "20"]


class Geesefs(Client):
    name = "geesefs"

    def command(self):
        return [self.program, "-f", "--endpoint", self.origin.endpoint(self.port), "--region",
                "us-east-1", "--cache", self.cache,
                "%s:%s" % (self.origin.bucket, PREFIX), self.point]


class PythonS3fs(Client):
    """No mount: astropy reads by fsspec.  Where the tests' virtual environment has it."""
    name, kind, stores = "python s3fs", "fsspec", ("minio",)

    @classmethod
    def available(cls, tools):
        site = os.path.join(tools, "venv", "lib")
        found = [os.path.join(site, v, "site-packages") for v in
                 (os.listdir(site) if os.path.isdir(site) else [])]
        return next((s for s in found if os.path.isdir(os.path.join(s, "s3fs"))), None)

    def start(self):
        return self

    def path(self, name=""):
        return "s3://%s/%s/%s" % (self.origin.bucket, PREFIX, name)

    def job_env(self):
        return {**self.env(), "PYTHONPATH": self.program,
                "BENCH_ENDPOINT": self.origin.endpoint(self.port)}

    def cpu(self):
        return None

    peak = resident = cpu

    def leave(self):
        pass

    def stop(self):
        shutil.rmtree(self.folder, ignore_errors=True)


PEERS = (S3fs, Rclone, RcloneStreams, MountS3, Geesefs, PythonS3fs)
