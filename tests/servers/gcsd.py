#!/usr/bin/python3
"""gcsd.py - a Google Cloud Storage (JSON API) server for the tests, which can be told to lie
(see scripted.py).

  gcsd.py [--port N] [--bucket NAME]... [--token T] [--log FILE] [--commits FILE] [--data DIR]

Prints "gcsd: listening on 127.0.0.1:PORT" when it is ready.  With --token a request must have
it as bearer, or one that POST /token gave (as oauth2.googleapis.com does, to anybody).

What fake-gcs-server does not do is here: preconditions on reads, deletes, composing and
rewriting, moveTo, batches, rewriting in steps, sessions that keep only whole 256 KiB and are
over when cancelled, only the fields that were asked for, names and classes that are refused.

More for /_control/config, each until it is set again:
  {"move": 400}            what moveTo is refused with; 200: it works
  {"rewrite_step": N}      bytes that one rewriteTo copies; 0: all
  {"page": N}              entries in a page at most       {"empty_pages": true}  before each
  {"payer": true}          userProject must be given
  {"expire": true}         no token that is known now is good from here on
A rule's act may have "keep": N: of the chunk of an upload only so many bytes arrive.
"""
import json
import os
import re
import sys
from urllib.parse import unquote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gcsapi  # noqa: E402
import scripted  # noqa: E402
from gcsstore import GcsStore  # noqa: E402
from s3store import S3Error  # noqa: E402
from scripted import Reply  # noqa: E402

PATH = re.compile(r"(?:/(upload|download))?/storage/v1/b/([^/]+)(?:/(o)(?:/([^/]+)(?:/(\w+)"
                  r"(?:/(.*))?)?)?|/(\w+))?")


class GcsServer(scripted.Server):
    name, version_header = "gcsd", "x-goog-generation"
    refusal = (401, "authError", "by rule")

    def __init__(self, opts):
        super().__init__(opts, GcsStore(opts.data, opts.commits))
        self.tokens = {opts.token} if opts.token else None
        self.issued, self.copies = 0, {}
        self.move, self.rewrite_step, self.page = 200, 0, gcsapi.PAGE
        self.empty_pages = self.payer = False

    def parse(self, req):
        req.bucket = req.key = ""
        req.route = req.verb = req.verb_rest = None
        found = PATH.fullmatch(req.path)
        if not found:
            return
        req.route = found[1] or "storage"
        req.bucket, req.key = unquote(found[2]), unquote(found[4] or "",
                                                         errors="surrogateescape")
        req.verb, req.verb_rest = found[5] or found[7], found[6] or ""
        if req.route == "upload":
            req.key = req.args.get("name", "")  # for the rules; a description may name it
        elif found[3] and not found[4]:
            req.verb = "o"

    def refuse(self, req):
        given = req.headers.get("authorization", "")
        if req.path == "/token" or self.tokens is None:
            return None
        if given.startswith("Bearer ") and given[7:] in self.tokens:
            return None
        return (401, "authError", "Invalid Credentials" if given else "Anonymous caller does "
                "not have storage.objects access", {"WWW-Authenticate": "Bearer"})

    def handle(self, req, act):
        if req.path == "/token" and req.method == "POST":
            return self.token()
        if req.path == "/batch/storage/v1" and req.method == "POST":
            return gcsapi.batch(req, self.inner)
        return gcsapi.handle(self, req, act)

    def inner(self, head, body):
        """One request of a batch, by the right of the whole."""
        req = scripted.Request(head, ("", 0), self)
        req.body = self.store.body_of(body)
        try:
            if req.route != "storage" or req.args.get("alt") == "media":
                raise S3Error(400, "badRequest", "not to be had in a batch")
            return gcsapi.handle(self, req, {})
        except S3Error as err:
            return self.fail(req, err)

    def token(self):
        self.issued += 1
        name = "issued-%d" % self.issued
        if self.tokens is not None:
            self.tokens.add(name)
        return gcsapi.answer({"access_token": name, "expires_in": 3600, "token_type": "Bearer"})

    def fail(self, req, err):
        if err.status == 304:
            return Reply(304)
        if req.args.get("alt") == "media" and err.status not in (401, 403):
            return Reply(err.status, {"Content-Type": "text/html; charset=UTF-8",
                                      **err.headers}, err.message.encode())
        error = {"code": err.status, "message": err.message,
                 "errors": [{"message": err.message, "domain": "global", "reason": err.code}]}
        return Reply(err.status, {"Content-Type": "application/json; charset=UTF-8",
                                  **err.headers}, json.dumps({"error": error}).encode())

    def config(self, settings):
        super().config(settings)
        for name in ("move", "rewrite_step", "page", "empty_pages", "payer"):
            setattr(self, name, settings.get(name, getattr(self, name)))
        if settings.get("expire") and self.tokens is not None:
            self.tokens.clear()

    def uploads(self):
        return self.store.open_sessions()


def main():
    parser = scripted.options(__doc__)
    parser.add_argument("--token")
    GcsServer(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
