#!/usr/bin/python3
"""s3proxy.py - stands before a real S3 server and lies in its name (see scripted.py).

  s3proxy.py --to PORT [--port N] [--log FILE] [--commits FILE] [--data DIR]
             [--faults P --seed S]

Prints "s3proxy: listening on 127.0.0.1:PORT" when it is ready.  Requests go on as they came,
with the Host and the signature of the client, one connection to the server for each of the
client's.  It knows what it passed on and no objects: acts that need a store (swap, vanish,
other, previous) are s3d's alone.
"""
import http.client
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3api  # noqa: E402
import s3lies  # noqa: E402
import scripted  # noqa: E402
from s3d import error_document  # noqa: E402
from s3store import Store  # noqa: E402
from scripted import Reply  # noqa: E402

HOP = ("connection", "transfer-encoding", "keep-alive", "content-length", "date", "server")
COMMITS = {"put": "put", "copy": "copy", "finish": "complete", "delete": "delete"}


class Proxy(scripted.Server):
    name = "s3proxy"

    def __init__(self, opts):
        super().__init__(opts, Store(opts.data, opts.commits))
        self.own = threading.local()

    def op_of(self, req):
        return s3api.op_of(req)

    def only_one(self, req):
        return s3api.only_one(req)

    def fail(self, _req, err):
        return error_document(err)

    def lie(self, req, act):
        return s3lies.instead(self.store, req, act)

    def handle(self, req, act):
        reply = self.forward(req)
        if req.op in COMMITS and reply.status < 300:
            sha256 = req.body.sha256.hexdigest() if req.op == "put" else None
            self.store.note(COMMITS[req.op], req.bucket, req.key, sha256=sha256)
        return s3lies.listing(reply, act) if req.op == "list" else reply

    def forward(self, req):
        conn = getattr(self.own, "conn", None)
        if not conn:
            conn = self.own.conn = http.client.HTTPConnection("127.0.0.1", self.opts.to)
        conn.putrequest(req.method, req.path + ("?" + req.query if req.query else ""),
                        skip_host=True, skip_accept_encoding=True)
        for name, value in req.headers.items():
            if name not in ("connection", "expect"):
                conn.putheader(name, value)
        conn.endheaders()
        for data in req.body.pieces(0, req.body.size):
            conn.send(data)
        answer = conn.getresponse()
        headers = {n: v for n, v in answer.getheaders() if n.lower() not in HOP}
        if req.method == "HEAD":
            headers["Content-Length"] = answer.headers.get("content-length", "0")
        body = self.store.body_of(answer.read())
        return Reply(answer.status, headers, (body, 0, body.size))


def main():
    parser = scripted.options(__doc__)
    parser.add_argument("--to", type=int, required=True)
    Proxy(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
