#!/usr/bin/python3
"""s3d.py - an S3 server for the tests, which can be told to lie (see scripted.py).

  s3d.py [--port N] [--bucket NAME]... [--access-key K --secret-key S] [--region R]
         [--issued FILE] [--anonymous] [--log FILE] [--commits FILE] [--data DIR] [--min-part BYTES]
         [--faults P --seed S]

Prints "s3d: listening on 127.0.0.1:PORT" when it is ready.  It checks the signature and the
checksums of every request, and keeps versions (s3store.py).  The keys in the file of
--issued (see identity.py) are good while they have not expired, with their session token.

--faults P meets that part of all requests with a fault that a client gets over (rules.py),
from the first request on until they are cleared; for ones that come and go see s3ctl.py.
--commits FILE is the oracle of what was stored and acknowledged (s3store.py).
"""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3api  # noqa: E402
import s3lies  # noqa: E402
import scripted  # noqa: E402
import sigv4  # noqa: E402
from s3store import Store  # noqa: E402
from scripted import Reply  # noqa: E402
from wire import http_date  # noqa: E402


class S3Server(scripted.Server):
    name, extra = "s3d", {"x-amz-request-id": "s3d"}

    def __init__(self, opts):
        super().__init__(opts, Store(opts.data, opts.commits, opts.min_part))
        self.keys, self.clock = {opts.access_key: opts.secret_key}, 0

    def op_of(self, req):
        return s3api.op_of(req)

    def only_one(self, req):
        return s3api.only_one(req)

    def checks(self, req):
        return s3api.checksums(req)

    def refuse(self, req):
        if self.opts.anonymous and "authorization" not in req.headers:
            return None
        refusal = self.expired(req) or sigv4.verify(
            req.method, req.path, req.query, req.headers, self.keys, self.opts.region,
            time.time() + self.clock)
        if refusal and refusal[1] == "AuthorizationHeaderMalformed":
            return *refusal, {"x-amz-bucket-region": self.opts.region}
        return refusal

    def expired(self, req):
        """Learns the key of this request, if it is one that was issued."""
        if not self.opts.issued or not os.path.exists(self.opts.issued):
            return None
        found = re.search(r"Credential=(\w+)/", req.headers.get("authorization", ""))
        if not found:
            return None
        with open(self.opts.issued) as f:
            for entry in map(json.loads, f):
                if entry["access"] != found.group(1):
                    continue
                self.keys[entry["access"]] = entry["secret"]
                if req.headers.get("x-amz-security-token") != entry["token"]:
                    return 400, "InvalidToken", "not the session token of this key"
                if entry["expires"] < time.time():
                    return 400, "ExpiredToken", "The provided token has expired."
        return None

    def config(self, settings):
        super().config(settings)
        self.clock = settings.get("clock", self.clock)
        for upload in self.store.uploads.values():
            upload["t"] -= settings.get("older_uploads", 0)

    def answered(self, reply):
        """In its time."""
        reply.headers.setdefault("Date", http_date(time.time() + self.clock))

    def handle(self, req, act):
        s3api.verify_body(req)
        reply = s3api.handle(self.store, req)
        return s3lies.listing(reply, act) if req.op == "list" else reply

    def lie(self, req, act):
        return s3lies.instead(self.store, req, act)

    def fail(self, _req, err):
        return error_document(err)


def error_document(err):
    text = ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>"
            "%s</Message><RequestId>s3d</RequestId></Error>"
            % (err.code, s3api.escape(re.sub("[\x00-\x1f]", "?", err.message))))
    return Reply(err.status, {"Content-Type": "application/xml", **err.headers},
                 text.encode("utf-8", "replace"))


def main():
    parser = scripted.options(__doc__)
    parser.add_argument("--access-key", default="testkey")
    parser.add_argument("--secret-key", default="testsecret")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--issued")
    parser.add_argument("--anonymous", action="store_true")
    parser.add_argument("--min-part", type=int, default=5 << 20)
    S3Server(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
