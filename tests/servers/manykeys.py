"""manykeys.py - a scripted S3 server that has COUNT keys to list, and answers at once.

MinIO's own listing of so many keys takes between 4 and 51 s for the same pages (measured
2026-11-23), so listings are measured against this one behind a link of a fixed delay.
Entries are rendered once: a page costs well under a millisecond.  No signature is checked.
GET /-/requests tells what was asked since the last time, a line each.
"""
import bisect
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen

PREFIX, COUNT, PAGE = "some/prefix/", 100000, 1000
NAMES = ["%sjw%05d_cal.fits" % (PREFIX, n) for n in range(COUNT)]
SIZE = 117000000  # of number 0; each further key has a byte more
ENTRY = ("<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
         "<ETag>&quot;%032x&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass>"
         "</Contents>")
HEAD = ('<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns='
        '"http://s3.amazonaws.com/doc/2006-03-01/"><Name>bench</Name><Prefix>%s</Prefix>'
        "<MaxKeys>%d</MaxKeys><KeyCount>%d</KeyCount><IsTruncated>%s</IsTruncated>")


def size_of(n):
    return SIZE + n


class Handler(BaseHTTPRequestHandler):
    protocol_version, entries, asked = "HTTP/1.1", [], []
    wbufsize, disable_nagle_algorithm = 1 << 20, True

    def log_message(self, *_args):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def page(self, args):
        """ListObjects, old and new: no directory but PREFIX's own levels has anything."""
        prefix, delimiter = args.get("prefix", ""), args.get("delimiter", "")
        after = max(args.get("continuation-token", ""), args.get("start-after", ""),
                    args.get("marker", ""))
        limit = min(PAGE, int(args.get("max-keys", PAGE)))
        if not PREFIX.startswith(prefix) and not prefix.startswith(PREFIX):
            return HEAD % (prefix, limit, 0, "false")
        if delimiter and len(prefix) < len(PREFIX):
            common = PREFIX[:PREFIX.index("/", len(prefix)) + 1]
            return HEAD % (prefix, limit, 1, "false") + (
                "<Delimiter>/</Delimiter><CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>"
                % common)
        first = max(bisect.bisect_left(NAMES, prefix), bisect.bisect_right(NAMES, after))
        end = bisect.bisect_left(NAMES, prefix + "\U0010ffff")
        last = min(first + limit, end)
        more = last < end
        text = HEAD % (prefix, limit, max(0, last - first), "true" if more else "false")
        if more:
            text += "<NextContinuationToken>%s</NextContinuationToken><NextMarker>%s" \
                "</NextMarker>" % (NAMES[last - 1], NAMES[last - 1])
        return text + "".join(self.entries[first:last])

    def do_GET(self):
        if self.path == "/-/requests":
            asked, Handler.asked = Handler.asked, []
            return self.answer(200, "".join(line + "\n" for line in asked).encode())
        self.asked.append("GET " + self.path)
        url = urlsplit(self.path)
        args = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        key = unquote(url.path).lstrip("/").partition("/")[2]
        if key:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        if "location" in args:
            return self.answer(200, b"<LocationConstraint/>", Content_Type="application/xml")
        if "uploads" in args:
            return self.answer(200, b"<ListMultipartUploadsResult/>",
                               Content_Type="application/xml")
        body = self.page(args) + "</ListBucketResult>"
        return self.answer(200, body.encode(), Content_Type="application/xml")

    def do_HEAD(self):
        self.asked.append("HEAD " + self.path)
        key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        at = bisect.bisect_left(NAMES, key)
        if not key:
            return self.answer(200)
        if at == COUNT or NAMES[at] != key:
            return self.answer(404)
        return self.answer(200, length=size_of(at), ETag='"%032x"' % at,
                           Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")


class ManyKeysServer:
    """A process of its own, not to share this one's interpreter."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__)],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.search(r"(\d+)$", line.strip())[1])
        self.url = "http://127.0.0.1:%d" % self.port

    def requests(self):
        """Of a bucket: a warm-up's HEAD / is none."""
        with urlopen(self.url + "/-/requests") as reply:
            lines = reply.read().decode().splitlines()
        return [line for line in lines if line != "HEAD /"]

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    Handler.entries = [ENTRY % (name, n, size_of(n)) for n, name in enumerate(NAMES)]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print("manykeys: listening on %d" % server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
