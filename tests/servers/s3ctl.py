"""s3ctl.py - starts a scripted server of one's own and speaks to its control address."""
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
        self.seen = 0

    def stop(self):
        self.process.kill()
        self.process.wait()

    def call(self, method, verb, body=b"", **query):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        conn.request(method, "/_control/%s?%s" % (verb, urlencode(query, quote_via=quote)),
                     body)
        answer = conn.getresponse()
        data = json.loads(answer.read())
        conn.close()
        return data

    def rule(self, kind, method=None, key=None, query=None, header=None, nth=1, count=0,
             **act):
        match = {"nth": nth, "count": count}
        for name, value in (("method", method), ("key_re", key), ("query_re", query),
                            ("header", header)):
            if value is not None:
                match[name] = value
        self.call("POST", "rules", json.dumps([{"match": match, "act": {"kind": kind, **act}}]))

    def clear(self):
        self.call("POST", "clear")

    def reset(self):
        self.call("POST", "reset")
        self.seen = 0

    def put(self, key, data=b"", path=None):
        """What another client does.  Returns the ETag."""
        extra = {"path": path} if path else {}
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

    def commits(self, key=None):
        return [c for c in self.call("GET", "commits") if key in (None, c["key"])]

    def uploads(self):
        return self.call("GET", "uploads")


class S3d(Scripted):
    program = "s3d.py"
    access_key, secret_key = "testkey", "testsecret"
