"""scripted.py - what the scripted servers have in common: connections, rules, log, control.

A server of this kind answers honestly from a store (s3store.py) unless a rule tells it to
lie.  What it speaks is its Server's: parse (which bucket and key a request is about), refuse
(who may not), handle (the answer) and fail (an error's answer).

It writes one JSON line a request to the log: n, method, bucket, key, query, range, status,
sent, received, t0, t1, port, agent.

Control, unsigned and not logged (the answers are JSON):
  POST /_control/rules    [{"match": {...}, "act": {...}}]  adds rules; [] changes nothing
  POST /_control/clear    forgets the rules
  POST /_control/reset    forgets rules, log, objects and uploads; the buckets stay
  GET  /_control/log?since=N   GET /_control/commits   GET /_control/uploads
  POST /_control/config   {"conditions": false}: preconditions of writes are ignored
  POST /_control/put?bucket=B&key=K[&path=FILE]   another client's PUT; a file is
                          served as it is, under an ETag that is not its MD5
  POST /_control/delete?bucket=B&key=K

A rule matches by method, key_re, query_re (search), header (the name of one that the request
has); it acts from its nth match (from 1) for count matches (0 = for ever, the default).
What it can do (act.kind):
  status      answer act.status with act.code and act.headers
  reset       RST before any answer          drop_reply   do it, then close without an answer
  close_at    end the connection after act.at bytes of body ("rst": true resets it)
  stall       send act.at bytes of body, wait act.secs, go on
  delay       wait act.secs, then answer
  short       leave out the last act.by bytes, honestly counted
  corrupt     flip a bit at act.at of the body       zero   send zeros
  lie_range   answer with act.content_range, or the range that lies act.shift further on
  ignore_range  200 and the whole object    wrong_etag   another ETag
  error_200   200 with an error document    refuse_auth  403, or what the server has for it
  swap        first copy the object act.from onto this key, then answer
"""
import argparse
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3store import Body, S3Error  # noqa: E402

HEAD_MAX = 64 << 10
WORDS = {100: "Continue", 200: "OK", 204: "No Content", 206: "Partial Content",
         301: "Moved Permanently", 304: "Not Modified", 308: "Resume Incomplete",
         400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
         409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed",
         416: "Range Not Satisfiable", 429: "Too Many Requests",
         499: "Client Closed Request", 500: "Internal Server Error",
         501: "Not Implemented", 503: "Service Unavailable"}


class Gone(Exception):
    """The connection is over."""


class Request:
    def __init__(self, head, peer, server):
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = lines[0].split(" ", 2)
        self.path, _, self.query = target.partition("?")
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if name in self.headers:
                value = self.headers[name] + "," + value
            self.headers[name] = value
        self.args = dict(parse_qsl(self.query, keep_blank_values=True,
                                   errors="surrogateescape"))
        whole = unquote(self.path, errors="surrogateescape")[1:]
        self.bucket, _, self.key = whole.partition("/")
        if self.bucket != "_control":
            server.parse(self)
        self.port, self.body = peer[1], None
        self.length = int(self.headers.get("content-length", "0"))

    def cond(self):
        return {name: self.headers[header] for name, header in
                (("if_match", "if-match"), ("if_none_match", "if-none-match"))
                if header in self.headers}


class Reply:
    """body: bytes, or (Body, offset, size)."""

    def __init__(self, status=200, headers=None, body=b""):
        self.status, self.headers, self.body = status, dict(headers or {}), body

    @property
    def size(self):
        return self.body[2] if isinstance(self.body, tuple) else len(self.body)

    def cut(self, size):
        if isinstance(self.body, tuple):
            self.body = (self.body[0], self.body[1], size)
        else:
            self.body = self.body[:size]


class Rules:
    def __init__(self):
        self.lock, self.rules = threading.Lock(), []

    def add(self, rules):
        with self.lock:
            self.rules += [{"match": r.get("match", {}), "act": r["act"], "seen": 0}
                           for r in rules]

    def clear(self):
        with self.lock:
            self.rules = []

    def find(self, req):
        with self.lock:
            for rule in self.rules:
                match = rule["match"]
                if not (match.get("method", req.method) == req.method
                        and re.search(match.get("key_re", ""), req.key)
                        and re.search(match.get("query_re", ""), req.query)
                        and match.get("header") in (None, *req.headers)):
                    continue
                rule["seen"] += 1
                nth, count = match.get("nth", 1), match.get("count", 0)
                if rule["seen"] >= nth and (not count or rule["seen"] < nth + count):
                    return rule["act"]
        return {}


class Server:
    name, version_header, extra = "", "ETag", {}
    refusal = (403, "SignatureDoesNotMatch", "by rule")

    def __init__(self, opts, store):
        self.opts, self.store = opts, store
        for name in opts.bucket or ["test"]:
            self.store.buckets[name] = {}
        self.rules, self.log, self.lock = Rules(), [], threading.Lock()
        self.log_file = open(opts.log, "a", buffering=1) if opts.log else None
        self.listener = socket.create_server(("127.0.0.1", opts.port), backlog=512)
        self.port = self.listener.getsockname()[1]

    def parse(self, req):
        """Set req.bucket and req.key, if they are not the path's first part and its rest."""

    def checks(self, _req):
        """Names of the checksums that are wanted of the body: "sha1", "crc32"."""
        return ()

    def refuse(self, _req):
        """None, or what S3Error takes: who asks may not."""

    def handle(self, req, act):
        """The answer of an honest server; req.body is there."""
        raise NotImplementedError

    def fail(self, req, err):
        raise NotImplementedError

    def uploads(self):
        """Those that are not finished: id -> key, bucket."""
        return self.store.uploads

    def config(self, settings):
        self.store.conditions = settings.get("conditions", self.store.conditions)

    def serve(self):
        print("%s: listening on 127.0.0.1:%d" % (self.name, self.port), flush=True)
        while True:
            sock, peer = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(self, sock, peer).run, daemon=True).start()

    def note(self, req, reply, t0, act):
        """Before the answer, so that who has the answer finds it in the log."""
        entry = {"method": req.method, "bucket": req.bucket, "key": req.key,
                 "query": req.query, "range": req.headers.get("range"),
                 "if_match": req.headers.get("if-match"),
                 "status": reply.status if reply else 0, "sent": 0,
                 "received": req.length, "t0": t0, "t1": None, "port": req.port,
                 "agent": req.headers.get("user-agent"), "act": act.get("kind")}
        with self.lock:
            entry["n"] = len(self.log)
            self.log.append(entry)
        if reply and req.method != "HEAD" and act.get("kind") != "drop_reply":
            entry["sent"] = reply.size
        return entry

    def finish(self, entry, sent):
        with self.lock:
            entry["sent"], entry["t1"] = sent, time.time()
            if self.log_file:
                self.log_file.write(json.dumps(entry) + "\n")

    def control(self, req, body):
        verb, args = req.key, req.args
        if verb == "rules":
            self.rules.add(json.loads(body))
        elif verb == "clear":
            self.rules.clear()
        elif verb == "reset":
            self.rules.clear()
            self.store.reset()
            with self.lock:
                self.log = []
        elif verb == "log":
            return self.log[int(args.get("since", 0)):]
        elif verb == "commits":
            return self.store.commits
        elif verb == "uploads":
            return [{"id": k, "key": v["key"], "bucket": v["bucket"]}
                    for k, v in list(self.uploads().items())]
        elif verb == "config":
            self.config(json.loads(body))
        elif verb == "put":
            data = Body.of_file(args["path"]) if "path" in args else self.store.body_of(body)
            version = self.store.put(args["bucket"], args["key"], data, {}, op="other")
            return {"etag": version.etag}
        elif verb == "delete":
            self.store.delete(args["bucket"], args["key"])
        else:
            raise S3Error(404, "NoSuchControl", verb)
        return {}


class Connection:
    def __init__(self, server, sock, peer):
        self.server, self.sock, self.peer = server, sock, peer
        self.buf = b""

    def run(self):
        try:
            while self.one():
                pass
        except (Gone, OSError):
            pass
        finally:
            self.sock.close()

    def fill(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise Gone
        self.buf += data

    def head(self):
        while b"\r\n\r\n" not in self.buf:
            if len(self.buf) > HEAD_MAX:
                raise Gone
            self.fill()
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        return Request(head, self.peer, self.server)

    def body(self, req, keep=True):
        if req.headers.get("expect", "").lower() == "100-continue" and not self.buf:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        checks = self.server.checks(req)
        body, left = Body(self.server.store.folder, req.length), req.length
        while left:
            if not self.buf:
                self.fill()
            data, self.buf = self.buf[:left], self.buf[left:]
            left -= len(data)
            if keep:
                body.add(data, checks)
        return body.close()

    def one(self):
        req, t0 = self.head(), time.time()
        if req.bucket == "_control":
            return self.control(req)
        act, reply, sent = self.server.rules.find(req), None, 0
        if act.get("kind") != "reset":
            reply = self.answer(req, act)
        entry = self.server.note(req, reply, t0, act)
        try:
            if reply:
                sent = self.send(req, reply, act)
        finally:
            if not reply or act.get("kind") in ("drop_reply", "close_at"):
                self.abandon(act)
            self.server.finish(entry, sent)
        if not reply:
            raise Gone
        return (req.headers.get("connection", "").lower() != "close"
                and act.get("kind") not in ("drop_reply", "close_at"))

    def abandon(self, act):
        if act.get("kind") == "reset" or act.get("rst"):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        self.sock.close()

    def control(self, req):
        try:
            body = self.body(req)
            data = self.server.control(req, body.read(0, body.size))
            self.send(req, Reply(200, {}, json.dumps(data).encode()), {})
        except S3Error as err:
            self.send(req, self.server.fail(req, err), {})
        return True

    def answer(self, req, act):
        kind = act.get("kind")
        try:
            refused = self.server.refuse(req)
            if "transfer-encoding" in req.headers:
                raise S3Error(411, "MissingContentLength")
            req.body = self.body(req, keep=not refused and kind != "status")
            if refused:
                raise S3Error(*refused)
            if kind == "refuse_auth":
                raise S3Error(*self.server.refusal)
            if kind == "status":
                raise S3Error(act["status"], act.get("code", "InternalError"), "by rule",
                              act.get("headers"))
            if kind == "error_200":
                raise S3Error(200, act.get("code", "InternalError"), "by rule")
            if kind == "swap":
                store = self.server.store
                other = store.get(req.bucket, act["from"])
                store.put(req.bucket, req.key, other.body, {}, op="other")
            if kind == "ignore_range":
                req.headers.pop("range", None)
            return bend(self.server.handle(req, act), act, self.server.version_header)
        except S3Error as err:
            return self.server.fail(req, err)

    def send(self, req, reply, act):
        kind = act.get("kind")
        if kind == "drop_reply":
            return 0
        if kind == "delay":
            time.sleep(act["secs"])
        headers = {"Date": formatdate(usegmt=True), "Server": self.server.name,
                   "Content-Length": str(reply.size), **self.server.extra}
        headers.update(reply.headers)
        if reply.status in (204, 304):
            headers.pop("Content-Length")
        head = "HTTP/1.1 %d %s\r\n" % (reply.status, WORDS.get(reply.status, "Other"))
        head += "".join("%s: %s\r\n" % h for h in headers.items()) + "\r\n"
        self.sock.sendall(head.encode("latin-1", "replace"))
        if req.method == "HEAD" or not reply.size:
            return 0
        return self.send_body(reply, act, reply.size)

    def send_body(self, reply, act, size):
        kind, at = act.get("kind"), act.get("at", 0)
        if kind == "close_at":
            self.span(reply.body, 0, min(at, size))
            return min(at, size)
        if kind == "stall":
            at = min(at, size)
            self.span(reply.body, 0, at)
            time.sleep(act["secs"])
            self.span(reply.body, at, size - at)
        elif kind in ("corrupt", "zero"):
            data = bytearray(reply.body[0].read(reply.body[1], size)
                             if isinstance(reply.body, tuple) else reply.body)
            if kind == "zero":
                data = bytes(size)
            else:
                data[min(at, size - 1)] ^= 1
            self.sock.sendall(data)
        else:
            self.span(reply.body, 0, size)
        return size

    def span(self, body, off, size):
        if not size:
            return
        if isinstance(body, tuple) and body[0].file:
            off += body[1]
            while size:
                n = os.sendfile(self.sock.fileno(), body[0].file.fileno(), off, size)
                if not n:
                    raise Gone
                off, size = off + n, size - n
        elif isinstance(body, tuple):
            start = body[1] + off
            self.sock.sendall(memoryview(body[0].parts[0])[start:start + size])
        else:
            self.sock.sendall(memoryview(body)[off:off + size])


def bend(reply, act, version_header):
    """Make an honest answer a lie."""
    kind = act.get("kind")
    if kind == "wrong_etag" and version_header in reply.headers:
        reply.headers[version_header] = act.get("etag", '"00000000000000000000000000000000"')
    elif kind == "short":
        reply.cut(max(0, reply.size - act.get("by", 1)))
    elif kind == "lie_range" and "content_range" in act:
        reply.headers["Content-Range"] = act["content_range"]
    elif kind == "lie_range" and isinstance(reply.body, tuple):
        body, off, size = reply.body
        off = min(off + act.get("shift", 1), body.size - size)
        reply.body = (body, off, size)
        reply.headers["Content-Range"] = "bytes %d-%d/%d" % (off, off + size - 1, body.size)
    return reply


def options(about):
    """The arguments that every server takes."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append")
    parser.add_argument("--log")
    parser.add_argument("--commits")
    parser.add_argument("--data")
    return parser


def ranged(version, headers, req):
    """The bytes of a version, or those of them that Range asks for."""
    found = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", req.headers.get("range", ""))
    if not found or found[0] == "bytes=-":
        return Reply(200, headers, (version.body, 0, version.size))
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last or version.size), version.size - 1)
    else:
        start, end = max(0, version.size - int(last)), version.size - 1
    if start >= version.size or end < start:
        raise S3Error(416, "InvalidRange", "", {"Content-Range": "bytes */%d" % version.size})
    headers["Content-Range"] = "bytes %d-%d/%d" % (start, end, version.size)
    return Reply(206, headers, (version.body, start, end - start + 1))
