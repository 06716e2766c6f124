"""gcsctl.py - starts a gcsd.py of one's own; speaks to any server of Google's JSON API."""
import http.client
import json
import sys
from urllib.parse import quote, urlencode, urlsplit

from s3ctl import Scripted


class Gcsd(Scripted):
    program = "gcsd.py"


class GcsError(Exception):
    def __init__(self, status, body):
        super().__init__("%d %s" % (status, body[:200]))
        self.status = status


class Gcs:
    """What another program does with a bucket, request by request."""

    def __init__(self, url, bucket, token=None):
        self.url, self.bucket, self.token = url, bucket, token

    def call(self, method, path, body=b"", headers=None, expect=(200, 204, 206), **query):
        """-> (status, headers with names in lower case, body)."""
        where = urlsplit(self.url)
        conn = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query, quote_via=quote)
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        conn.request(method, path, body, headers)
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        if expect and answer.status not in expect:
            raise GcsError(answer.status, data.decode("utf-8", "replace"))
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, data

    def json(self, method, path, body=b"", **query):
        data = self.call(method, path, body, **query)[2]
        return json.loads(data) if data else {}

    def object(self, key, verb=""):
        return "/storage/v1/b/%s/o/%s%s" % (self.bucket, quote(key, safe=""), verb)

    def make_bucket(self):
        self.json("POST", "/storage/v1/b?project=test", {"name": self.bucket})

    def put(self, key, data=b"", meta=None, **query):
        """multipart/related; the description of what was made."""
        bound = "b0undary-of-gcsctl"
        head = {"name": key, **(meta or {})}
        body = ("--%s\r\nContent-Type: application/json\r\n\r\n%s\r\n--%s\r\n"
                "Content-Type: application/octet-stream\r\n\r\n"
                % (bound, json.dumps(head), bound)).encode()
        body += bytes(data) + ("\r\n--%s--\r\n" % bound).encode()
        return json.loads(self.call(
            "POST", "/upload/storage/v1/b/%s/o" % self.bucket, body,
            {"Content-Type": "multipart/related; boundary=" + bound},
            uploadType="multipart", **query)[2])

    def stat(self, key, **query):
        return self.json("GET", self.object(key), **query)

    def get(self, key, span=None, **query):
        headers = {"Range": "bytes=" + span} if span else {}
        return self.call("GET", self.object(key), headers=headers, alt="media", **query)[2]

    def delete(self, key, **query):
        self.call("DELETE", self.object(key), **query)

    def list(self, prefix="", **query):
        """-> (descriptions, prefixes), of all pages."""
        items, prefixes, token = [], [], None
        while True:
            page = self.json("GET", "/storage/v1/b/%s/o" % self.bucket, prefix=prefix,
                             **query, **({"pageToken": token} if token else {}))
            items += page.get("items", [])
            prefixes += page.get("prefixes", [])
            token = page.get("nextPageToken")
            if not token:
                return items, prefixes


def main():
    """gcsctl.py URL BUCKET: make the bucket."""
    Gcs(*sys.argv[1:3]).make_bucket()


if __name__ == "__main__":
    main()
