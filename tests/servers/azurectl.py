"""azurectl.py - what another program does with an Azure container, request by request.

SharedKey only (protocols: the string that is signed has the path as sent, and the account
twice for an emulator's path-style address).
"""
import base64
import hashlib
import hmac
import http.client
import sys
from email.utils import formatdate
from urllib.parse import quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

ACCOUNT = "devstoreaccount1"  # Azurite's, published: not a secret
KEY = ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
       "K1SZFPTOtr/KBHBeksoGMGw==")
VERSION = "2021-12-02"
SLOTS = ("content-encoding", "content-language", "content-length", "content-md5",
         "content-type", "date", "if-modified-since", "if-match", "if-none-match",
         "if-unmodified-since", "range")


class AzureError(Exception):
    def __init__(self, status, code, body):
        super().__init__("%d %s %s" % (status, code, body[:200]))
        self.status, self.code = status, code


def connection_string(url, key=KEY):
    return ("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;"
            % (ACCOUNT, key, url))


def sign(text, key=KEY):
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Azure:
    """url: with the account, as BlobEndpoint has it."""

    def __init__(self, url, container, key=KEY):
        self.url, self.container, self.key = url, container, key

    def call(self, method, path, body=b"", headers=None, expect=(200, 201, 202, 206), **query):
        """-> (status, headers with names in lower case, body)."""
        where = urlsplit(self.url)
        path = where.path + "/" + self.container + path
        sent = {n.lower(): v for n, v in (headers or {}).items()}
        sent.update({"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION})
        sent["content-length"] = str(len(body)) if body else ""
        text = method + "\n" + "".join(sent.get(n, "") + "\n" for n in SLOTS)
        text += "".join("%s:%s\n" % (n, sent[n]) for n in sorted(sent) if n.startswith("x-ms-"))
        text += "/" + ACCOUNT + path
        text += "".join("\n%s:%s" % pair for pair in sorted(query.items()))
        sent["authorization"] = "SharedKey %s:%s" % (ACCOUNT, sign(text, self.key))
        sent["content-length"] = str(len(body))
        conn = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        conn.request(method, path + ("?" + urlencode(query, quote_via=quote) if query else ""),
                     body, sent)
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        if expect and answer.status not in expect:
            raise AzureError(answer.status, answer.getheader("x-ms-error-code", ""),
                             data.decode("utf-8", "replace"))
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, data

    def make_container(self):
        self.call("PUT", "", restype="container")

    def put(self, key, data=b"", metadata=None, **headers):
        """The ETag of what was made."""
        headers = {"x-ms-blob-type": "BlockBlob", **headers}
        headers.update({"x-ms-meta-" + n: v for n, v in (metadata or {}).items()})
        return self.call("PUT", "/" + quote(key), data, headers)[1]["etag"]

    def stat(self, key):
        return self.call("HEAD", "/" + quote(key))[1]

    def get(self, key):
        return self.call("GET", "/" + quote(key))[2]

    def delete(self, key):
        self.call("DELETE", "/" + quote(key))

    def tags(self, key):
        root = ElementTree.fromstring(self.call("GET", "/" + quote(key), comp="tags")[2])
        return {t.findtext("Key"): t.findtext("Value") for t in root.iter("Tag")}

    def list(self, prefix="", **query):
        """-> names, of all pages."""
        names, marker = [], ""
        while True:
            page = self.call("GET", "", restype="container", comp="list", prefix=prefix,
                             **query, **({"marker": marker} if marker else {}))[2]
            root = ElementTree.fromstring(page)
            for node in root.iter("Blob"):
                name = node.find("Name")
                names.append(unquote(name.text) if name.get("Encoded") else name.text)
            marker = root.findtext("NextMarker") or ""
            if not marker:
                return names

    def sas(self, start, end, rights="racwdl"):
        """A service SAS of the container; times as 2026-01-02T03:04:05Z."""
        fields = [rights, start, end, "/blob/%s/%s" % (ACCOUNT, self.container), "", "", "",
                  VERSION, "c", "", "", "", "", "", "", ""]
        return urlencode({"sv": VERSION, "sr": "c", "sp": rights, "st": start, "se": end,
                          "sig": sign("\n".join(fields), self.key)})


def main():
    """azurectl.py URL CONTAINER: make the container."""
    Azure(*sys.argv[1:3]).make_container()


if __name__ == "__main__":
    main()
