"""s3ctl.py - starts a scripted server of one's own and speaks to its control address.

  server = S3d(folder, "--commits", FILE)    or with "--faults", "0.05", "--seed", "7"
  server.chaos(0.05, seed=7)                 5 % of all requests meet a fault, from now on
  server.chaos(0.2, seed=7, op=["put", "finish"], kinds=["drop_reply"])   narrowed
  server.clear()                             honest again
  server.commits(key)                        the oracle: every version there ever was

The same seed gives the same request the same fault.  What each request met is "act" in log().
"""
import http.client
import json
import os
import subprocess
import sys
from urllib.parse import quote, urlencode

HERE = os.path.dirname(os.path.abspath(__file__))


class Scripted:
    program = ""

    def __init__(self, folder, *args, bucket="test"):
        self.bucket = bucket
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, self.program), "--data", str(folder),
             "--bucket", bucket, *args], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "listening" not in line:
            raise RuntimeError("%s did not start: %s" % (self.program, line))
        self.port = int(line.rsplit(":", 1)[1])
        self.url = "http://127.0.0.1:%d" % self.port
        self.seen, self.kept = 0, None

    def keep(self):
        """One connection for all that is asked from here on, by one thread."""
        self.kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def call(self, method, verb, body=b"", **query):
        conn = self.kept or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        conn.request(method, "/_control/%s?%s" % (verb, urlencode(query, quote_via=quote)),
                     body)
        answer = conn.getresponse()
        data = json.loads(answer.read())
        if conn is not self.kept:
            conn.close()
        return data

    def rule(self, kind, method=None, key=None, query=None, header=None, nth=1, count=0,
             op=None, p=None, seed=None, **act):
        match = {"nth": nth, "count": count}
        for name, value in (("method", method), ("key_re", key), ("query_re", query),
                            ("header", header), ("op", op), ("p", p), ("seed", seed)):
            if value is not None:
                match[name] = value
        self.call("POST", "rules", json.dumps([{"match": match, "act": {"kind": kind, **act}}]))

    def chaos(self, p, seed, op=None, **act):
        """Random faults that a client gets over: see rules.py."""
        self.rule("random", op=op, p=p, seed=seed, **act)

    def clear(self):
        self.call("POST", "clear")

    def reset(self):
        self.call("POST", "reset")
        self.seen = 0

    def put(self, key, data=b"", path=None, age=0):
        """What another client does, age seconds ago.  Returns the ETag."""
        extra = {"path": path} if path else {}
        extra.update({"age": age} if age else {})
        return self.call("POST", "put", data, bucket=self.bucket, key=key, **extra)["etag"]

    def delete(self, key):
        self.call("POST", "delete", bucket=self.bucket, key=key)

    def config(self, **settings):
        self.call("POST", "config", json.dumps(settings))

    def log(self, **since):
        """But for HEAD /, which opens a connection for later and asks for nothing."""
        return [r for r in self.call("GET", "log", **since)
                if r["bucket"] or r["method"] != "HEAD"]

    def mark(self):
        """From here on new() tells what was asked."""
        self.seen = len(self.call("GET", "log"))

    def new(self, method=None):
        return [r for r in self.log(since=self.seen) if method in (None, r["method"])]

    def commits(self, key=None, **since):
        return [c for c in self.call("GET", "commits", **since) if key in (None, c["key"])]

    def uploads(self):
        return self.call("GET", "uploads")

    def overlaps(self):
        """Of requests that are to come one after the other, those that did not."""
        return self.call("GET", "overlaps")

    def clients(self):
        """How many connections somebody has.  At 0, all that one who was killed had sent was
        seen, under the rules of its time."""
        return self.call("GET", "clients")


class S3d(Scripted):
    program = "s3d.py"
    access_key, secret_key = "testkey", "testsecret"


class S3Proxy(Scripted):
    """Before the server on this port, with the keys of its clients."""
    program = "s3proxy.py"

    def __init__(self, folder, port, *args, **kwargs):
        super().__init__(folder, "--to", str(port), *args, **kwargs)
