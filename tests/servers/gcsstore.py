"""gcsstore.py - what is in the buckets of gcsd: generations, preconditions, upload sessions.

An object's version is its generation; etag holds it as a string, so that the commit log and
the control address (scripted.py) read the same as those of s3d.  meta holds what a client set:
contentType, storageClass, customTime, metadata.
"""
import time
from base64 import b64encode

try:
    import numpy
except ImportError:  # then checksums of large bodies take their time
    numpy = None
from s3store import SHARED, Body, S3Error, Store, Version

QUANTUM = 256 << 10  # of what a session keeps
COMPOSE_MAX = 32
CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")


def _entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


BYTES = [_entry(n) for n in range(256)]
TABLE = numpy.array(BYTES, dtype=numpy.uint32) if numpy else None
LANE = 256


def _apply(matrix, values):
    out = numpy.zeros_like(values)
    for bit in range(32):
        out ^= matrix[bit] * ((values >> bit) & 1)
    return out


def _powers():
    """Of the map that one zero byte is: for 1, 2, 4 ... of them, bit by bit of the state."""
    unit = numpy.uint32(1) << numpy.arange(32, dtype=numpy.uint32)
    powers = [(unit >> 8) ^ TABLE[unit & 255]]
    for _ in range(40):
        powers.append(_apply(powers[-1], powers[-1]))
    return powers


POWERS = _powers() if numpy else None


def _after_zeros(crcs, count):
    for power in POWERS:
        if count & 1:
            crcs = _apply(power, crcs)
        count >>= 1
    return crcs


def _register(data):
    """From 0 over all bytes, many lanes at once; zeros in front change nothing."""
    lanes = 1
    while lanes * LANE < len(data):
        lanes *= 2
    length = -(-len(data) // lanes)
    padded = numpy.zeros(lanes * length, dtype=numpy.uint8)
    padded[lanes * length - len(data):] = numpy.frombuffer(data, dtype=numpy.uint8)
    crcs = numpy.zeros(lanes, dtype=numpy.uint32)
    for column in numpy.ascontiguousarray(padded.reshape(lanes, length).T):
        crcs = TABLE[(crcs ^ column) & 255] ^ (crcs >> 8)
    while len(crcs) > 1:
        crcs = _after_zeros(crcs[0::2], length) ^ crcs[1::2]
        length *= 2
    return crcs


def crc32c(body):
    """CRC32C of a Body, as an object's description has it."""
    crc = numpy.full(1, 0xFFFFFFFF, dtype=numpy.uint32) if numpy else [0xFFFFFFFF]
    for data in body.pieces(0, body.size):
        if numpy:
            crc = _after_zeros(crc, len(data)) ^ _register(data)
        else:
            for byte in data:
                crc[0] = BYTES[(crc[0] ^ byte) & 255] ^ (crc[0] >> 8)
    return b64encode((int(crc[0]) ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


class Generation(Version):
    def __init__(self, body, number, meta, composed=0):
        super().__init__(body, str(number), meta)
        self.metageneration, self.composed = 1, composed
        self.known_crc = None

    def crc(self):
        if self.known_crc is None:
            self.known_crc = crc32c(self.body)
        return self.known_crc


class GcsStore(Store):
    def reset(self):
        with SHARED:
            super().reset()
            self.generation = int(time.time() * 1e6)

    def get(self, bucket, key, generation=None):
        try:
            version = self.bucket(bucket)[key]
        except KeyError:
            raise S3Error(404, "notFound", "No such object: %s/%s" % (bucket, key)) from None
        if generation and generation != version.etag:
            raise S3Error(404, "notFound", "No such object: %s/%s#%s"
                          % (bucket, key, generation))
        return version

    def bucket(self, name):
        try:
            return self.buckets[name]
        except KeyError:
            raise S3Error(404, "notFound", "The specified bucket does not exist.") from None

    def check(self, bucket, key, match=None, not_match=None, meta_match=None,
              meta_not_match=None):
        """match "0": must not be there."""
        now = self.bucket(bucket).get(key)
        if not self.conditions:
            return
        etag, meta = (now.etag, str(now.metageneration)) if now else ("0", None)
        if (match is not None and match != etag) \
                or (meta_match is not None and meta_match != meta):
            raise S3Error(412, "conditionNotMet",
                          "At least one of the pre-conditions you specified did not hold.")
        if (not_match is not None and not_match == etag) \
                or (meta_not_match is not None and meta_not_match == meta):
            raise S3Error(304, "notModified")

    def put(self, bucket, key, body, meta, op="put", composed=0, **cond):
        with SHARED:
            self.generation += 1
            number = self.generation
        return self.commit(op, bucket, key, Generation(body, number, meta, composed), **cond)

    def patch(self, bucket, key, change, **cond):
        with SHARED:
            self.check(bucket, key, **cond)
            version = self.get(bucket, key)
            meta = dict(version.meta)
            metadata = dict(meta.get("metadata") or {})
            for name, value in (change.pop("metadata", {}) or {}).items():
                metadata[name] = value
            meta.update(change)
            meta["metadata"] = {n: v for n, v in metadata.items() if v is not None}
            version.meta = {n: v for n, v in meta.items() if v is not None}
            version.metageneration += 1
        return version

    def remove(self, bucket, key, generation=None, **cond):
        with SHARED:
            self.get(bucket, key, generation)
            self.commit("delete", bucket, key, None, **cond)

    def move(self, bucket, source, target, source_cond, **cond):
        """One step: nobody sees both names or neither."""
        with SHARED:
            version = self.get(bucket, source)
            self.check(bucket, source, **source_cond)
            made = self.put(bucket, target, version.body, version.meta, op="move",
                            composed=version.composed, **cond)
            if source != target:
                self.commit("delete", bucket, source, None)
        return made

    def compose(self, bucket, target, sources, meta, **cond):
        """sources: (name, generation or None, the generation it must have or None)."""
        if not 1 <= len(sources) <= COMPOSE_MAX:
            raise S3Error(400, "invalid", "The number of source components provided (%d) is "
                          "not in 1..%d" % (len(sources), COMPOSE_MAX))
        versions = []
        for name, generation, match in sources:
            version = self.get(bucket, name, generation)
            self.check(bucket, name, match=match)
            versions.append(version)
        whole = Body(self.folder, sum(v.size for v in versions))
        for version in versions:
            for data in version.body.pieces(0, version.size):
                whole.add(data)
        return self.put(bucket, target, whole.close(), meta, op="compose",
                        composed=sum(v.composed or 1 for v in versions), **cond)

    def session_begin(self, bucket, key, meta, size, cond):
        uid = self.upload_begin(bucket, key, meta)
        self.uploads[uid].update(size=size, cond=cond, body=Body(self.folder, 2 << 20),
                                 made=None, gone=False)
        return uid

    def session(self, uid):
        up = self.uploads.get(uid)
        if not up:
            raise S3Error(404, "notFound", "No such upload")
        if up["gone"]:
            raise S3Error(410, "gone", "The upload was cancelled")
        return up

    def session_add(self, uid, first, data, total, keep, verify):
        """Bytes from first on (None: only to ask); the object when the last is there.
        keep: only so many bytes of these arrive; None: all."""
        with SHARED:
            up = self.session(uid)
            if up["made"]:
                return up["made"]
            have = up["body"].size
            up["size"] = total if total is not None else up["size"]
            if first is not None and first > have:
                raise S3Error(400, "invalid", "The upload offset is %d, which exceeds already "
                              "uploaded size of %d" % (first, have))
            if first is not None:
                data = data[have - first:]
                whole = total is not None and have + len(data) == total
                if keep is not None and keep < len(data):
                    data, whole = data[:keep], False
                if not whole and len(data) % QUANTUM:
                    data = data[:len(data) // QUANTUM * QUANTUM]
                up["body"].add(data)
            if up["size"] is None or up["body"].size < up["size"]:
                return None
            if up["body"].size > up["size"]:
                raise S3Error(400, "invalid", "more bytes than the object has")
            body = up["body"].close()
            verify(body)
        up["made"] = self.put(up["bucket"], up["key"], body, up["meta"], op="complete",
                              **up["cond"])
        return up["made"]

    def session_end(self, uid):
        self.session(uid)["gone"] = True

    def open_sessions(self):
        return {uid: up for uid, up in list(self.uploads.items())
                if not up["made"] and not up["gone"]}

