"""s3lies.py - lies that need to know S3.  Acts (act.kind), beside those of lies.py:
  forge       what success would be answered with, and nothing is done; act.etag replaces the
              ETag that is right.  For put, part, begin, finish, copy and delete.
  moved       act.status, and where else it is to be had: act.location, act.region
  listing     act.how of a page: "reverse" (not sorted), "twice" (every entry), "outside" (an
              entry that was not asked for), "loop" (the same token for ever), "no_token",
              "huge" (17 MB), "doctype", "entities" (a billion laughs), "deep", "nul",
              "truncated", "empty" (no entries), "foreign" (another document), "sizes" and
              "dates" (nonsense), "not_url" (keys are encoded, and it does not say so)
"""
import hashlib
import re

import s3api
from scripted import Reply

LAUGHS = ('<!DOCTYPE x [<!ENTITY a0 "ha">'
          + "".join('<!ENTITY a%d "%s">' % (n, "&a%d;" % (n - 1) * 10) for n in range(1, 10))
          + "]>")
FOREIGN = (b"<Contents><Key>other/prefix/evil</Key><LastModified>2026-01-01T00:00:00.000Z"
           b"</LastModified><ETag>&quot;0&quot;</ETag><Size>1</Size></Contents>")


def instead(store, req, act):
    kind = act.get("kind")
    if kind == "moved":
        headers = {"Location": act["location"]} if "location" in act else {}
        if "region" in act:
            headers["x-amz-bucket-region"] = act["region"]
        return Reply(act.get("status", 307), headers)
    if kind == "forge":
        return forge(store, req, act.get("etag"))
    return None


def forge(store, req, etag):
    if req.op in ("delete", "abort"):
        return Reply(204)
    if req.op in ("put", "part"):
        return Reply(200, {"ETag": etag or '"%s"' % req.body.md5.hexdigest()})
    if req.op == "begin":
        return s3api.xml("InitiateMultipartUploadResult", "<UploadId>forged</UploadId>")
    if req.op == "copy":
        _, version = s3api.copy_source(store, req)
        return s3api.xml("CopyObjectResult", "<ETag>%s</ETag>" % s3api.escape(
            etag or version.etag))
    if req.op == "finish":
        parts = s3api.wanted_parts(req)
        digest = hashlib.md5(b"".join(bytes.fromhex(e.strip('"')) for _, e in parts))
        return s3api.xml("CompleteMultipartUploadResult", "<ETag>%s</ETag>" % s3api.escape(
            etag or '"%s-%d"' % (digest.hexdigest(), len(parts))))
    return None


def listing(reply, act):
    if act.get("kind") == "listing" and reply.status == 200:
        reply.body = HOW[act["how"]](reply.bytes())
    return reply


def entries(page):
    return re.findall(rb"<Contents>.*?</Contents>", page)


def with_entries(page, found):
    bare = re.sub(rb"<Contents>.*?</Contents>", b"", page)
    return bare.replace(b"</ListBucketResult>", b"".join(found) + b"</ListBucketResult>")


def after_start(page, text):
    """Within the document, before its first entry."""
    return page.replace(b"<Name>", text + b"<Name>", 1)


def loop(page):
    token = b"<NextContinuationToken>YQ==</NextContinuationToken>"
    page = re.sub(rb"<IsTruncated>\w+</IsTruncated>", b"<IsTruncated>true</IsTruncated>", page)
    return re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", page).replace(
        b"</ListBucketResult>", token + b"</ListBucketResult>")


def laughs(page):
    start, rest = page.split(b"\n", 1)
    return start + b"\n" + LAUGHS.encode() + b"\n" + after_start(rest, b"<Lol>&a9;</Lol>")


HOW = {
    "reverse": lambda page: with_entries(page, entries(page)[::-1]),
    "twice": lambda page: with_entries(page, [e for e in entries(page) for _ in (0, 1)]),
    "outside": lambda page: with_entries(page, entries(page) + [FOREIGN]),
    "empty": lambda page: with_entries(page, []),
    "loop": loop,
    "no_token": lambda page: re.sub(
        rb"<NextContinuationToken>.*?</NextContinuationToken>", b"",
        re.sub(rb"<IsTruncated>\w+<", b"<IsTruncated>true<", page)),
    "huge": lambda page: after_start(page, b"<Pad>" + b" " * (17 << 20) + b"</Pad>"),
    "doctype": lambda page: page.replace(b"\n", b'\n<!DOCTYPE x SYSTEM "file:///etc/passwd">\n',
                                         1),
    "entities": laughs,
    "deep": lambda page: after_start(page, b"<a>" * 100000 + b"</a>" * 100000),
    "nul": lambda page: page.replace(b"<Key>", b"<Key>\0", 1),
    "truncated": lambda page: page[:len(page) * 2 // 3],
    "foreign": lambda _page: b"<html><body>Sign in to the hotel's network</body></html>",
    "sizes": lambda page: page.replace(b"<Size>", b"<Size>-"),
    "dates": lambda page: re.sub(rb"<LastModified>.*?<", b"<LastModified>1601-01-01T00:00:00Z<",
                                 page),
    "not_url": lambda page: page.replace(b"<EncodingType>url</EncodingType>", b""),
}
