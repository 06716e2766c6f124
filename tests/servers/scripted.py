"""scripted.py - what the scripted servers have in common: connections, rules, log, control.

A server of this kind answers honestly from a store (s3store.py) unless a rule tells it to
lie.  What it speaks is its Server's: parse (which bucket and key a request is about), refuse
(who may not), handle (the answer) and fail (an error's answer).

It writes one JSON line a request to the log: n, method, op, bucket, key, query, range, status,
sent, received, t0, t1, port, agent.

Control, unsigned and not logged (the answers are JSON):
  POST /_control/rules    [{"match": {...}, "act": {...}}]  adds rules; [] changes nothing
  POST /_control/clear    forgets the rules
  POST /_control/reset    forgets rules, log, objects and uploads; the buckets stay
  GET  /_control/log?since=N   GET /_control/commits?since=N   GET /_control/uploads
  GET  /_control/clients  how many connections there are, but for those to this address
  GET  /_control/overlaps  requests that came while another one, of those of which there is
                          only to be one at a time, waited for its answer: key, what
  POST /_control/config   {"conditions": false}: preconditions of writes are ignored
                          {"log": false}: requests are no longer kept, for long runs
                          {"clock": 3600}: it is an hour later here (s3d)
                          {"older_uploads": 3600}: those that there are began an hour
                          earlier (s3d)
  POST /_control/put?bucket=B&key=K[&path=FILE]   another client's PUT; a file is
                          served as it is, under an ETag that is not its MD5
  POST /_control/delete?bucket=B&key=K

Which requests a rule matches is in rules.py; what it can do, in lies.py and wire.py.
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
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lies  # noqa: E402
import wire  # noqa: E402
from rules import Rules  # noqa: E402
from s3store import Body, S3Error  # noqa: E402
from wire import Gone  # noqa: E402

HEAD_MAX = 64 << 10
LAST_DATA_RECV = struct.Struct("52xI")  # of Linux's struct tcp_info: ms ago
TCP_ESTABLISHED = 1  # its first byte


@lru_cache(1024)
def parts_of(target):
    """-> path, query, arguments, bucket, key"""
    path, _, query = target.partition("?")
    args = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    bucket, _, key = unquote(path, errors="surrogateescape")[1:].partition("/")
    return path, query, args, bucket, key


@lru_cache(1024)
def header_of(line):
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


class Request:
    def __init__(self, head, peer, server, arrived=0):
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = lines[0].split(" ", 2)
        self.path, self.query, args, self.bucket, self.key = parts_of(target)
        self.headers, self.rule, self.args = {}, None, dict(args)
        for name, value in map(header_of, lines[1:]):
            if name in self.headers:
                value = self.headers[name] + "," + value
            self.headers[name] = value
        self.op, self.subject = "", self.key
        if self.bucket != "_control":
            server.parse(self)
            self.op, self.subject = server.op_of(self), self.key or self.args.get("prefix", "")
        self.port, self.body, self.arrived = peer[1], None, arrived
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

    def bytes(self):
        if isinstance(self.body, tuple):
            return self.body[0].read(self.body[1], self.body[2])
        return self.body

    def cut(self, size):
        if isinstance(self.body, tuple):
            self.body = (self.body[0], self.body[1], size)
        else:
            self.body = self.body[:size]


class Turns:
    """Requests that are to come one after the other, and those that did not."""

    def __init__(self):
        self.lock, self.inside, self.overlaps = threading.Lock(), {}, []

    def come(self, what, key, client):
        """One whose client has hung up is nobody's any more, however long it takes."""
        if what is None:
            return
        with self.lock:
            others = self.inside.setdefault(what, set())
            if any(c.is_waited_for() for c in others):
                self.overlaps.append({"key": key, "what": what})
            others.add(client)

    def leave(self, what, client):
        """Before the answer: who has it may come again at once."""
        with self.lock:
            others = self.inside.get(what, set())
            others.discard(client)
            if not others:
                self.inside.pop(what, None)


class Server:
    name, version_header, extra = "", "ETag", {}
    refusal = (403, "SignatureDoesNotMatch", "by rule")

    def __init__(self, opts, store):
        self.opts, self.store = opts, store
        for name in opts.bucket or ["test"]:
            self.store.buckets[name] = {}
        self.rules, self.log, self.lock = Rules(), [], threading.Lock()
        self.clients, self.keeps_log, self.turns = set(), True, Turns()
        if opts.faults:
            self.rules.add([{"match": {"p": opts.faults, "seed": opts.seed},
                             "act": {"kind": "random"}}])
        self.log_file = open(opts.log, "a", buffering=1) if opts.log else None
        self.listener = socket.create_server(("127.0.0.1", opts.port), backlog=512)
        self.port = self.listener.getsockname()[1]

    def parse(self, req):
        """Set req.bucket and req.key, if they are not the path's first part and its rest."""

    def op_of(self, req):
        """What it is for, in one word."""
        return req.method.lower()

    def only_one(self, _req):
        """Of what there is only to be one request at a time; None if that is nothing."""

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

    def lie(self, _req, _act):
        """What it says without doing it, if this act is one of its own; or None."""

    def empty(self, status):
        return Reply(status)

    def answered(self, reply):
        """What all answers have in common."""

    def uploads(self):
        """Those that are not finished: id -> key, bucket."""
        return self.store.uploads

    def config(self, settings):
        self.store.conditions = settings.get("conditions", self.store.conditions)
        self.keeps_log = settings.get("log", self.keeps_log)

    def serve(self):
        print("%s: listening on 127.0.0.1:%d" % (self.name, self.port), flush=True)
        while True:
            sock, peer = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Connection(self, sock, peer)
            self.clients.add(client)
            threading.Thread(target=client.run, daemon=True).start()

    def note(self, req, reply, t0, act):
        """Before the answer, so that who has the answer finds it in the log."""
        entry = {"method": req.method, "op": req.op, "bucket": req.bucket, "key": req.key,
                 "prefix": req.args.get("prefix", ""), "query": req.query,
                 "range": req.headers.get("range"),
                 "if_match": req.headers.get("if-match"),
                 "status": reply.status if reply else 0, "sent": 0,
                 "received": req.length, "t0": t0, "t1": None, "port": req.port,
                 "agent": req.headers.get("user-agent"), "act": act.get("kind")}
        with self.lock:
            entry["n"] = len(self.log)
            if self.keeps_log:
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
                self.log, self.keeps_log, self.turns = [], True, Turns()
        elif verb == "log":
            return self.log[int(args.get("since", 0)):]
        elif verb == "commits":
            return self.store.commits[int(args.get("since", 0)):]
        elif verb == "uploads":
            return [{"id": k, "key": v["key"], "bucket": v["bucket"],
                     "begun": v.get("t", 0), "arrived": v.get("arrived", 0),
                     "parts": len(v.get("parts", ()))}
                    for k, v in list(self.uploads().items())]
        elif verb == "clients":
            return len(self.clients)
        elif verb == "overlaps":
            return self.turns.overlaps
        elif verb == "config":
            self.config(json.loads(body))
        elif verb == "put":
            data = Body.of_file(args["path"]) if "path" in args else self.store.body_of(body)
            version = self.store.put(args["bucket"], args["key"], data, {}, op="other")
            version.mtime -= float(args.get("age", 0))
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
            self.server.clients.discard(self)
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
        return Request(head, self.peer, self.server, self.arrived())

    def arrived(self):
        """When the last byte came to this machine: on a busy one long before it is read."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECV.size)
        return time.time() - LAST_DATA_RECV.unpack(info)[0] / 1000

    def is_waited_for(self):
        """Has the client not hung up?"""
        try:
            state, = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            return state == TCP_ESTABLISHED
        except OSError:
            return False

    def body(self, req, act, keep=True):
        if req.headers.get("expect", "").lower() == "100-continue" and not self.buf:
            self.go_on(act)
        checks = self.server.checks(req)
        body, left = Body(self.server.store.folder, req.length), req.length
        while left:
            if not self.buf:
                self.fill()
            data, self.buf = self.buf[:left], self.buf[left:]
            if act.get("kind") == "spoil":
                data = lies.spoiled(data, req.length - left, req.length, act)
            left -= len(data)
            if keep:
                body.add(data, checks)
        return body.close()

    def go_on(self, act):
        """act.continue: seconds until the client is told to send, or "never"."""
        secs = act.get("continue", 0)
        if secs != "never":
            time.sleep(secs)
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def one(self):
        req, t0 = self.head(), time.time()
        if req.bucket == "_control":
            return self.control(req)
        turns, what = self.server.turns, self.server.only_one(req)
        turns.come(what, req.key, self)
        try:
            return self.one_of(req, t0, lambda: turns.leave(what, self))
        finally:
            turns.leave(what, self)

    def one_of(self, req, t0, leave):
        act, reply, sent, whole = self.server.rules.find(req), None, 0, False
        over = wire.ends(act)
        if act.get("kind") not in wire.UNANSWERED:
            reply = self.answer(req, act)
        entry = self.server.note(req, reply, t0, act)
        try:
            if act.get("kind") == "silent":
                time.sleep(act["secs"])
            if reply:
                wire.hold(act)
                leave()
                sent = self.send(req, reply, act)
                whole = not over
        finally:
            self.server.store.acked(whole and reply.status < 300)
            if over:
                wire.abandon(self.sock, act)
            self.server.finish(entry, sent)
        return req.headers.get("connection", "").lower() != "close" and not over

    def control(self, req):
        self.server.clients.discard(self)
        try:
            body = self.body(req, {})
            data = self.server.control(req, body.read(0, body.size))
            self.send(req, Reply(200, {}, json.dumps(data).encode()), {})
        except S3Error as err:
            self.send(req, self.server.fail(req, err), {})
        return True

    def answer(self, req, act):
        try:
            refused = self.server.refuse(req)
            if "transfer-encoding" in req.headers:
                raise S3Error(411, "MissingContentLength")
            if act.get("kind") == "early":
                raise S3Error(act["status"], act["code"], "before the body")
            try:
                req.body = self.body(req, act, keep=not refused)
            except (Gone, OSError):
                self.server.rules.take_back(req)
                raise
            if refused:
                raise S3Error(*refused)
            return lies.answer(self.server, req, act)
        except S3Error as err:
            return self.server.fail(req, err)

    def send(self, req, reply, act):
        self.server.answered(reply)
        return wire.send(self.sock, req, reply, act, self.server.name, self.server.extra)


def options(about):
    """The arguments that every server takes."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append")
    parser.add_argument("--log")
    parser.add_argument("--commits")
    parser.add_argument("--data")
    parser.add_argument("--faults", type=float, default=0, metavar="P",
                        help="meet this part of all requests with a random fault")
    parser.add_argument("--seed", default="0")
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
