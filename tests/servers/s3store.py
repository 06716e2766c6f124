"""s3store.py - what is in the buckets of s3d: immutable versions of objects, and uploads.

Small bodies lie in memory, larger ones in files that vanish with the last reference.
Every change is appended to the commit log before it can be seen: one JSON line with the
monotonic ns, op, key, n (the version), ETag, size, SHA-256 and tag of what became visible.
When all of the answer has been handed to the kernel, {"n": N, "acked": ns} is appended.
That log is the tests' oracle: the clock is the one that the clients on this machine have.
"""
import hashlib
import json
import os
import tempfile
import threading
import time
import zlib
from base64 import b64encode

IN_MEMORY = 1 << 20
PIECE = 1 << 20
SHARED = threading.RLock()


class S3Error(Exception):
    def __init__(self, status, code, message="", headers=None):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.headers = headers or {}


class Body:
    """Bytes that never change once made; hashed while they are written."""

    def __init__(self, folder, expect=0):
        self.size = 0
        self.sha256, self.md5, self.sha1 = hashlib.sha256(), hashlib.md5(), hashlib.sha1()
        self.crc32 = 0
        self.file = tempfile.TemporaryFile(dir=folder) if expect > IN_MEMORY else None
        self.parts = []

    @classmethod
    def of_file(cls, path):
        """A file as it is, neither copied nor read: for large objects of other clients."""
        body = cls(None)
        body.file, body.size = open(path, "rb"), os.path.getsize(path)
        for digest in (body.md5, body.sha256, body.sha1):
            digest.update(os.urandom(16))
        return body

    def add(self, data, checks=()):
        self.sha256.update(data)
        self.md5.update(data)
        if "sha1" in checks:
            self.sha1.update(data)
        if "crc32" in checks:
            self.crc32 = zlib.crc32(data, self.crc32)
        self.size += len(data)
        if self.file:
            self.file.write(data)
        else:
            self.parts.append(bytes(data))

    def close(self):
        if self.file:
            self.file.flush()
        else:
            self.parts = [b"".join(self.parts)]
        return self

    def read(self, off, size):
        if self.file:
            return os.pread(self.file.fileno(), size, off)
        return self.parts[0][off:off + size]

    def pieces(self, off, size):
        while size > 0:
            data = self.read(off, min(size, PIECE))
            if not data:
                return
            yield data
            off, size = off + len(data), size - len(data)

    def base64(self, name):
        if name == "crc32":
            return b64encode(self.crc32.to_bytes(4, "big")).decode()
        return b64encode(getattr(self, name).digest()).decode()


class Version:
    def __init__(self, body, etag, meta, tags=None):
        self.body, self.etag, self.meta, self.tags = body, etag, meta, tags or {}
        self.size, self.mtime = body.size, time.time()


class Store:
    def __init__(self, folder, commits=None, min_part=5 << 20):
        self.folder, self.min_part = folder, min_part
        self.commit_file = open(commits, "a", buffering=1) if commits else None
        self.mine = threading.local()
        self.reset()

    def reset(self):
        with SHARED:
            buckets = getattr(self, "buckets", {})
            self.buckets = {name: {} for name in buckets}
            self.uploads, self.commits, self.counter = {}, [], 0
            self.before = {}  # the version that each one replaced
            self.conditions = True

    def bucket(self, name):
        try:
            return self.buckets[name]
        except KeyError:
            raise S3Error(404, "NoSuchBucket", name) from None

    def body_of(self, data):
        body = Body(self.folder, len(data))
        body.add(data)
        return body.close()

    def get(self, bucket, key):
        try:
            return self.bucket(bucket)[key]
        except KeyError:
            raise S3Error(404, "NoSuchKey", key) from None

    def check(self, bucket, key, if_match=None, if_none_match=None):
        now = self.bucket(bucket).get(key)
        if not self.conditions:
            return
        if if_none_match == "*" and now:
            raise S3Error(412, "PreconditionFailed", "If-None-Match")
        if if_match and not now:
            raise S3Error(404, "NoSuchKey", key)
        if if_match and if_match not in ("*", now.etag):
            raise S3Error(412, "PreconditionFailed", "If-Match")

    def commit(self, op, bucket, key, version, **cond):
        """The one place where an object changes."""
        with SHARED:
            self.check(bucket, key, **cond)
            more = {"sha256": None}
            if version:
                version.mtime = time.time()
                more = {"etag": version.etag, "size": version.size, "meta": version.meta,
                        "sha256": version.body.sha256.hexdigest(),
                        "tag": version.meta.get("x-amz-meta-mastfs-tag")}
            self.note(op, bucket, key, **more)
            self.before[bucket, key] = self.buckets[bucket].get(key)
            if version:
                self.buckets[bucket][key] = version
            else:
                self.buckets[bucket].pop(key, None)
        return version

    def note(self, op, bucket, key, **more):
        """One line of the commit log."""
        with SHARED:
            self.counter += 1
            entry = {"n": self.counter, "ns": time.monotonic_ns(), "t": time.time(),
                     "op": op, "bucket": bucket, "key": key, **more}
            self.append(entry)
            self.commits.append(entry)
            self.mine.entry = entry

    def append(self, line):
        if self.commit_file:
            self.commit_file.write(json.dumps(line) + "\n")

    def acked(self, whole):
        """The answer to this thread's request is on its way, or never will be."""
        entry = getattr(self.mine, "entry", None)
        self.mine.entry = None
        if entry and whole:
            with SHARED:
                entry["acked"] = time.monotonic_ns()
                self.append({"n": entry["n"], "acked": entry["acked"]})

    def put(self, bucket, key, body, meta, tags=None, op="put", **cond):
        return self.commit(op, bucket, key,
                           Version(body, '"%s"' % body.md5.hexdigest(), meta, tags), **cond)

    def delete(self, bucket, key, if_match=None):
        with SHARED:
            if key in self.bucket(bucket) or if_match:
                self.commit("delete", bucket, key, None, if_match=if_match)

    def list(self, bucket, prefix="", delimiter="", after="", limit=1000, start=""):
        """-> (list of (name, Version or None for a common prefix), next or None).
        Names behind after, of keys from start on."""
        with SHARED:
            first = os.fsencode(start)
            names = sorted((k for k in self.bucket(bucket)
                            if k.startswith(prefix) and os.fsencode(k) >= first),
                           key=os.fsencode)
            found, last = [], os.fsencode(after)
            for key in names:
                name, version = key, self.buckets[bucket][key]
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                if cut >= 0:
                    name, version = key[:cut + len(delimiter)], None
                if os.fsencode(name) <= last or (found and found[-1][0] == name):
                    continue
                if len(found) == limit:
                    return found, found[-1][0] if found else None
                found.append((name, version))
        return found, None

    def upload_begin(self, bucket, key, meta, arrived=0, tags=None):
        """arrived: when the request for it came to this machine."""
        with SHARED:
            self.bucket(bucket)
            self.counter += 1
            uid = "u%06d-%s" % (self.counter, os.urandom(8).hex())
            self.uploads[uid] = {"bucket": bucket, "key": key, "meta": meta, "parts": {},
                                 "tags": tags, "t": time.time(), "arrived": arrived}
        return uid

    def upload(self, bucket, key, uid):
        up = self.uploads.get(uid)
        if not up or (up["bucket"], up["key"]) != (bucket, key):
            raise S3Error(404, "NoSuchUpload", uid)
        return up

    def upload_part(self, bucket, key, uid, number, body):
        with SHARED:
            self.upload(bucket, key, uid)["parts"][number] = body
        return '"%s"' % body.md5.hexdigest()

    def upload_finish(self, bucket, key, uid, wanted, **cond):
        """wanted: (number, etag) in the order of the request."""
        with SHARED:
            up = self.upload(bucket, key, uid)
            self.check(bucket, key, **cond)
            parts = []
            if not wanted or [n for n, _ in wanted] != sorted({n for n, _ in wanted}):
                raise S3Error(400, "InvalidPartOrder" if wanted else "MalformedXML")
            for number, etag in wanted:
                part = up["parts"].get(number)
                if not part or part.md5.hexdigest() != etag.strip('"'):
                    raise S3Error(400, "InvalidPart", str(number))
                parts.append(part)
            if any(p.size < self.min_part for p in parts[:-1]):
                raise S3Error(400, "EntityTooSmall")
        whole = Body(self.folder, sum(p.size for p in parts))
        for part in parts:
            for data in part.pieces(0, part.size):
                whole.add(data)
        digest = hashlib.md5(b"".join(p.md5.digest() for p in parts)).hexdigest()
        version = Version(whole.close(), '"%s-%d"' % (digest, len(parts)), up["meta"],
                          up["tags"])
        with SHARED:
            self.upload(bucket, key, uid)
            self.commit("complete", bucket, key, version, **cond)
            del self.uploads[uid]
        return version

    def upload_abort(self, bucket, key, uid):
        with SHARED:
            self.upload(bucket, key, uid)
            del self.uploads[uid]

    def part_of(self, body, off, size):
        part = Body(self.folder, size)
        for data in body.pieces(off, size):
            part.add(data)
        return part.close()
