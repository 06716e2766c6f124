"""s3api.py - what each S3 request means: the answers of an honest s3d."""
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timezone
from functools import lru_cache
from urllib.parse import parse_qsl, quote_plus, unquote
from xml.etree import ElementTree

from s3store import S3Error
from scripted import Reply, ranged
from wire import http_date

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
COPY_MAX = 5 << 30


def escape(text):
    """For XML 1.0, which has no way to write most control bytes."""
    for char, word in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = text.replace(char, "&%s;" % word)
    return re.sub("[\x00-\x1f]", lambda m: "&#x%x;" % ord(m[0]), text)


def xml(root, inner, status=200):
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<%s %s>%s</%s>' % (root, XMLNS, inner, root)
    return Reply(status, {"Content-Type": "application/xml"},
                 text.encode("utf-8", "surrogateescape"))


@lru_cache(1024)
def stamp(t):
    return datetime.fromtimestamp(t, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def checksums(req):
    return [name for name in ("sha1", "crc32", "sha256")
            if "x-amz-checksum-" + name in req.headers]


def verify_body(req):
    """Content-SHA256, Content-MD5 and x-amz-checksum-* are promises: hold the client to them."""
    payload = req.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    if payload.startswith("STREAMING-"):
        raise S3Error(501, "NotImplemented", payload)
    if payload != "UNSIGNED-PAYLOAD" and payload != req.body.sha256.hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch")
    md5 = req.headers.get("content-md5")
    if md5 and md5 != req.body.base64("md5"):
        raise S3Error(400, "BadDigest", "Content-MD5")
    for name in checksums(req):
        if req.headers["x-amz-checksum-" + name] != req.body.base64(name):
            raise S3Error(400, "BadDigest", name)
    if payload == "UNSIGNED-PAYLOAD" and req.length and not md5 and not checksums(req) \
            and req.method == "PUT":
        raise S3Error(400, "InvalidRequest", "a body with neither signature nor checksum")


# What a request says of its object and an answer repeats, beside x-amz-meta-*.
KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language",
        "expires", "x-amz-website-redirect-location")
# A copy has these by its own request alone, whatever it copies.
SSE = "x-amz-server-side-encryption"
BUCKET_KEY = SSE + "-bucket-key-enabled"
PLACE = ("x-amz-storage-class", SSE, SSE + "-aws-kms-key-id", BUCKET_KEY)


def meta_of(req):
    meta = {n: v for n, v in req.headers.items() if n.startswith("x-amz-meta-")}
    if sum(len(n) - 11 + len(v) for n, v in meta.items()) > 2048:
        raise S3Error(400, "MetadataTooLarge")
    meta.update({n: req.headers[n] for n in KEPT if n in req.headers})
    meta["content-type"] = req.headers.get("content-type", "binary/octet-stream")
    return {**meta, **place_of(req)}


def place_of(req):
    place = {n: req.headers[n] for n in PLACE if n in req.headers}
    if BUCKET_KEY in place:
        place[BUCKET_KEY] = place[BUCKET_KEY].lower()
    if place.get("x-amz-storage-class") == "STANDARD":
        del place["x-amz-storage-class"]  # goes without saying
    return place


def tags_of(req):
    tags = dict(parse_qsl(req.headers.get("x-amz-tagging", ""), keep_blank_values=True))
    if len(tags) > 10:
        raise S3Error(400, "BadRequest", "Object tags cannot be greater than 10")
    return tags


OPS = {  # method, and which of these the query has
    ("PUT", "uploadId"): "part", ("POST", "uploadId"): "finish", ("POST", "uploads"): "begin",
    ("DELETE", "uploadId"): "abort", ("GET", "uploadId"): "parts", ("GET", "uploads"): "uploads",
    ("GET", "list-type"): "list", ("POST", "delete"): "delete_many",
    ("GET", "location"): "location", ("GET", "tagging"): "tags",
}


def op_of(req):
    for name in req.args:
        if (req.method, name) in OPS:
            return OPS[req.method, name]
    if not req.key:
        return "bucket"
    if req.method == "PUT" and "x-amz-copy-source" in req.headers:
        return "copy"
    return req.method.lower()


def only_one(req):
    """Two that finish one upload at a time: which of them did it, the other cannot tell."""
    return req.args.get("uploadId") if req.op == "finish" else None


def handle(store, req):
    if not req.bucket:
        names = "".join("<Bucket><Name>%s</Name></Bucket>" % b for b in store.buckets)
        return xml("ListAllMyBucketsResult", "<Buckets>%s</Buckets>" % names)
    if not req.key:
        return handle_bucket(store, req)
    if len(req.key.encode("utf-8", "surrogateescape")) > 1024:
        raise S3Error(400, "KeyTooLongError")
    store.bucket(req.bucket)
    if "uploadId" in req.args or "uploads" in req.args:
        return handle_upload(store, req)
    if req.method == "GET" and "tagging" in req.args:
        return get_tags(store, req)
    if req.method in ("GET", "HEAD"):
        return get(store, req)
    if req.method == "PUT" and "x-amz-copy-source" in req.headers:
        return copy(store, req)
    if req.method == "PUT":
        version = store.put(req.bucket, req.key, req.body, meta_of(req), tags_of(req),
                            **req.cond())
        return Reply(200, {"ETag": version.etag})
    if req.method == "DELETE":
        store.delete(req.bucket, req.key, req.headers.get("if-match"))
        return Reply(204)
    raise S3Error(405, "MethodNotAllowed")


def handle_bucket(store, req):
    if req.method == "PUT":
        store.buckets.setdefault(req.bucket, {})
        return Reply(200)
    store.bucket(req.bucket)
    if req.method == "HEAD":
        return Reply(200, {"x-amz-bucket-region": "us-east-1"})
    if req.method == "POST" and "delete" in req.args:
        return delete_many(store, req)
    if req.method == "GET" and "location" in req.args:
        return xml("LocationConstraint", "")
    if req.method == "GET" and "uploads" in req.args:
        return list_uploads(store, req)
    if req.method == "GET":
        return list_objects(store, req)
    raise S3Error(405, "MethodNotAllowed")


def list_objects(store, req):
    if req.args.get("list-type") != "2":
        raise S3Error(501, "NotImplemented", "only ListObjectsV2")
    url = req.args.get("encoding-type") == "url"
    prefix, delimiter = req.args.get("prefix", ""), req.args.get("delimiter", "")
    limit = min(1000, int(req.args.get("max-keys", 1000)))
    after = req.args.get("start-after", "")
    if "continuation-token" in req.args:
        after = urlsafe_b64decode(req.args["continuation-token"]).decode(
            "utf-8", "surrogateescape")

    def name(key):
        return quote_plus(key, safe="/", errors="surrogateescape") if url else escape(key)

    entries, following = store.list(req.bucket, prefix, delimiter, after, limit)
    out = "<Name>%s</Name><Prefix>%s</Prefix><KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys>" % (
        req.bucket, name(prefix), len(entries), limit)
    out += "<Delimiter>%s</Delimiter>" % name(delimiter) if delimiter else ""
    out += "<EncodingType>url</EncodingType>" if url else ""
    out += "<IsTruncated>%s</IsTruncated>" % ("true" if following else "false")
    if following:
        out += "<NextContinuationToken>%s</NextContinuationToken>" % urlsafe_b64encode(
            following.encode("utf-8", "surrogateescape")).decode()
    for key, version in entries:
        if version:
            out += ("<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>%s</ETag>"
                    "<Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>") % (
                name(key), stamp(version.mtime), escape(version.etag), version.size)
        else:
            out += "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % name(key)
    return xml("ListBucketResult", out)


def delete_many(store, req):
    if "content-md5" not in req.headers and not checksums(req):
        raise S3Error(400, "InvalidRequest", "DeleteObjects needs Content-MD5")
    out = ""
    for node in ElementTree.fromstring(req.body.read(0, req.body.size)).iter():
        if node.tag.endswith("}Key") or node.tag == "Key":
            store.delete(req.bucket, node.text or "")
            out += "<Deleted><Key>%s</Key></Deleted>" % escape(node.text or "")
    return xml("DeleteResult", out)


def describe(version):
    headers = {"ETag": version.etag, "Last-Modified": http_date(version.mtime),
               "Accept-Ranges": "bytes"}
    headers.update(version.meta)
    if version.tags:
        headers["x-amz-tagging-count"] = str(len(version.tags))
    return headers


def get_tags(store, req):
    tags = store.get(req.bucket, req.key).tags
    return xml("Tagging", "<TagSet>%s</TagSet>" % "".join(
        "<Tag><Key>%s</Key><Value>%s</Value></Tag>" % (escape(k), escape(v))
        for k, v in tags.items()))


def get(store, req):
    version = store.get(req.bucket, req.key)
    wanted = req.headers.get("if-match")
    if wanted and wanted not in ("*", version.etag):
        raise S3Error(412, "PreconditionFailed", "If-Match")
    if req.headers.get("if-none-match") in ("*", version.etag):
        return Reply(304, {"ETag": version.etag})
    headers = describe(version)
    return ranged(version, headers, req)


def copy_source(store, req):
    source = unquote(req.headers["x-amz-copy-source"].partition("?")[0],
                     errors="surrogateescape").lstrip("/")
    bucket, _, key = source.partition("/")
    version = store.get(bucket, key)
    wanted = req.headers.get("x-amz-copy-source-if-match")
    if wanted and wanted != version.etag:
        raise S3Error(412, "PreconditionFailed", "x-amz-copy-source-if-match")
    return (bucket, key), version


def copy(store, req):
    source, version = copy_source(store, req)
    replace = req.headers.get("x-amz-metadata-directive", "COPY") == "REPLACE"
    tags = tags_of(req) if req.headers.get("x-amz-tagging-directive") == "REPLACE" \
        else version.tags
    kept = {n: v for n, v in version.meta.items() if n not in PLACE}
    if version.size > COPY_MAX:
        raise S3Error(400, "InvalidRequest", "larger than one CopyObject may copy")
    if source == (req.bucket, req.key) and not replace:
        raise S3Error(400, "InvalidRequest", "a copy onto itself that changes nothing")
    made = store.put(req.bucket, req.key, version.body,
                     meta_of(req) if replace else {**kept, **place_of(req)}, tags, op="copy",
                     **req.cond())
    return xml("CopyObjectResult", "<LastModified>%s</LastModified><ETag>%s</ETag>" % (
        stamp(made.mtime), escape(made.etag)))


def handle_upload(store, req):
    uid = req.args.get("uploadId")
    where = (req.bucket, req.key)
    if req.method == "POST" and "uploads" in req.args:
        uid = store.upload_begin(*where, meta_of(req), req.arrived, tags_of(req))
        return xml("InitiateMultipartUploadResult", "<Bucket>%s</Bucket><Key>%s</Key>"
                   "<UploadId>%s</UploadId>" % (req.bucket, escape(req.key), uid))
    if req.method == "PUT":
        return upload_part(store, req, uid)
    if req.method == "POST":
        version = store.upload_finish(*where, uid, wanted_parts(req), **req.cond())
        return xml("CompleteMultipartUploadResult", "<Bucket>%s</Bucket><Key>%s</Key>"
                   "<ETag>%s</ETag>" % (req.bucket, escape(req.key), escape(version.etag)))
    if req.method == "DELETE":
        store.upload_abort(*where, uid)
        return Reply(204)
    parts = store.upload(*where, uid)["parts"]
    return xml("ListPartsResult", "<UploadId>%s</UploadId><IsTruncated>false</IsTruncated>"
               % uid + "".join("<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag>"
                               "<Size>%d</Size></Part>" % (n, p.md5.hexdigest(), p.size)
                               for n, p in sorted(parts.items())))


def wanted_parts(req):
    try:
        root = ElementTree.fromstring(req.body.read(0, req.body.size))
        fields = [{c.tag.rpartition("}")[2]: c.text for c in part} for part in root]
        return [(int(f["PartNumber"]), f["ETag"]) for f in fields]
    except (ElementTree.ParseError, KeyError, ValueError):
        raise S3Error(400, "MalformedXML") from None


def upload_part(store, req, uid):
    number = int(req.args["partNumber"])
    if not 1 <= number <= 10000:
        raise S3Error(400, "InvalidArgument", "partNumber")
    if "x-amz-copy-source" not in req.headers:
        return Reply(200, {"ETag": store.upload_part(req.bucket, req.key, uid, number,
                                                     req.body)})
    _, version = copy_source(store, req)
    first, last = 0, version.size - 1
    wanted = req.headers.get("x-amz-copy-source-range")
    if wanted:
        first, last = map(int, re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", wanted).groups())
        if last >= version.size:
            raise S3Error(400, "InvalidArgument", "x-amz-copy-source-range")
    part = store.part_of(version.body, first, last - first + 1)
    etag = store.upload_part(req.bucket, req.key, uid, number, part)
    return xml("CopyPartResult", "<ETag>%s</ETag>" % escape(etag))


def list_uploads(store, req):
    prefix = req.args.get("prefix", "")
    url = req.args.get("encoding-type") == "url"
    out = "<Bucket>%s</Bucket><IsTruncated>false</IsTruncated>" % req.bucket
    out += "<EncodingType>url</EncodingType>" if url else ""
    for uid, up in sorted(store.uploads.items()):
        if up["bucket"] == req.bucket and up["key"].startswith(prefix):
            key = quote_plus(up["key"], safe="/") if url else escape(up["key"])
            out += ("<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated>"
                    "</Upload>") % (key, uid, stamp(up["t"]))
    return xml("ListMultipartUploadsResult", out)
