"""lies.py - answers that are not what an honest server would say.

Acts of this stage (act.kind), of which some are known only to s3d (s3lies.py); those that
concern the bytes on the connection are in wire.py:
  status      answer act.status with act.code and act.headers; with "after": true, do first
              what was asked for
  error_200   200 with an error document    refuse_auth  403, or what the server has for it
  empty       act.status (200) and no body; also with "after"
  swap        first copy the object act.from onto this key, then answer
  vanish      first delete the object, then answer
  ignore_range  200 and the whole object    wrong_etag   another ETag, act.etag
  short       leave out the last act.by bytes, honestly counted
  corrupt     flip a bit at act.at of the body       zero   send zeros from act.at on
  other       the bytes of the object act.from       previous   those of the version before
  lie_range   answer with act.content_range, or the range that lies act.shift further on
  gzip        the body, compressed, and a header that says so
  sub         what the pattern act.find matches in the body becomes act.put
  spoil       flip a bit at act.at of the request's body, as if on its way here
"""
import gzip
import re

from s3store import S3Error


def instead(server, req, act):
    """An answer without doing anything; None if there is none."""
    kind = act.get("kind")
    if kind in ("status", "error_200", "empty") and act.get("after"):
        return None
    if kind == "refuse_auth":
        raise S3Error(*server.refusal)
    if kind in ("status", "error_200"):
        raise failure(act)
    if kind == "empty":
        return server.empty(act.get("status", 200))
    if kind == "swap":
        other = server.store.get(req.bucket, act["from"])
        server.store.put(req.bucket, req.key, other.body, {}, op="other")
    elif kind == "vanish":
        server.store.delete(req.bucket, req.key)
    elif kind == "ignore_range":
        req.headers.pop("range", None)
    return server.lie(req, act)


def failure(act):
    return S3Error(act.get("status", 200), act.get("code", "InternalError"), "by rule",
                   act.get("headers"))


def answer(server, req, act):
    kind = act.get("kind")
    reply = instead(server, req, act)
    if reply:
        return reply
    reply = server.handle(req, act)
    if act.get("after"):
        if kind == "empty":
            return server.empty(act.get("status", 200))
        raise failure(act)
    if kind in BENDS:
        BENDS[kind](server, req, reply, act)
    return reply


def spoiled(data, start, size, act):
    """A piece that begins at start of a request's body."""
    at = min(act.get("at", 0), size - 1) - start
    if not 0 <= at < len(data):
        return data
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def wrong_etag(server, _req, reply, act):
    if server.version_header in reply.headers:
        reply.headers[server.version_header] = act.get(
            "etag", '"00000000000000000000000000000000"')


def short(_server, _req, reply, act):
    reply.cut(max(0, reply.size - act.get("by", 1)))


def corrupt(_server, _req, reply, act):
    data = bytearray(reply.bytes())
    if data:
        data[min(act.get("at", 0), len(data) - 1)] ^= 1
    reply.body = bytes(data)


def zero(_server, _req, reply, act):
    at = act.get("at", 0)
    reply.body = reply.bytes()[:at] + bytes(max(0, reply.size - at))


def of_version(reply, version):
    if isinstance(reply.body, tuple):
        _, off, size = reply.body
        data = version.body.read(off, size)
        reply.body = data + bytes(size - len(data))


def other(server, req, reply, act):
    of_version(reply, server.store.get(req.bucket, act["from"]))


def previous(server, req, reply, _act):
    of_version(reply, server.store.before[req.bucket, req.key])


def lie_range(_server, _req, reply, act):
    if "content_range" in act:
        reply.headers["Content-Range"] = act["content_range"]
    elif isinstance(reply.body, tuple):
        body, off, size = reply.body
        off = min(off + act.get("shift", 1), body.size - size)
        reply.body = (body, off, size)
        reply.headers["Content-Range"] = "bytes %d-%d/%d" % (off, off + size - 1, body.size)


def squeeze(_server, _req, reply, _act):
    reply.body = gzip.compress(reply.bytes())
    reply.headers["Content-Encoding"] = "gzip"


def sub(_server, _req, reply, act):
    reply.body = re.sub(act["find"].encode(), act["put"].encode(), reply.bytes(),
                        count=act.get("times", 0))


BENDS = {"wrong_etag": wrong_etag, "short": short, "corrupt": corrupt, "zero": zero,
         "other": other, "previous": previous, "lie_range": lie_range, "gzip": squeeze,
         "sub": sub}
