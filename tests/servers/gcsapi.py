"""gcsapi.py - what each request of Google's JSON API means: the answers of an honest gcsd."""
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timezone
from urllib.parse import quote, unquote

from gcsstore import CLASSES, QUANTUM, crc32c
from s3store import SHARED, S3Error
from scripted import Reply, ranged
from wire import http_date

SETTABLE = ("contentType", "contentEncoding", "contentDisposition", "contentLanguage",
            "cacheControl", "storageClass", "customTime", "metadata")
PAGE = 1000
DOT = {".", ".."}


def stamp(t):
    return datetime.fromtimestamp(t, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def answer(data, status=200, headers=None):
    return Reply(status, {"Content-Type": "application/json; charset=UTF-8",
                          **(headers or {})}, json.dumps(data).encode())


def invalid(message):
    return S3Error(400, "invalid", message)


def describe(bucket, key, version):
    meta = version.meta
    data = {"kind": "storage#object", "name": key, "bucket": bucket,
            "generation": version.etag, "metageneration": str(version.metageneration),
            "size": str(version.size), "crc32c": version.crc(), "etag": "CJ" + version.etag,
            "contentType": meta.get("contentType", "application/octet-stream"),
            "storageClass": meta.get("storageClass", "STANDARD"),
            "timeCreated": stamp(version.mtime), "updated": stamp(version.mtime),
            "id": "%s/%s/%s" % (bucket, key, version.etag)}
    data.update({n: meta[n] for n in SETTABLE if meta.get(n)})
    if version.composed:
        data["componentCount"] = version.composed
    else:
        data["md5Hash"] = version.body.base64("md5")
    return data


def masked(data, fields):
    """Only the fields that were asked for: "a,items(b,c),d/e"."""
    if not fields:
        return data
    pos, text = 0, fields.replace(" ", "")

    def parse():
        nonlocal pos
        tree = {}
        while pos < len(text) and text[pos] != ")":
            found = re.compile(r"[A-Za-z0-9_*\-/]+").match(text, pos)
            if not found:
                raise invalid("Invalid field selection " + fields)
            pos, node = found.end(), tree
            for name in found[0].split("/"):
                node = node.setdefault(name, {})
            if pos < len(text) and text[pos] == "(":
                pos += 1
                node.update(parse())
                if pos == len(text):
                    raise invalid("Invalid field selection " + fields)
                pos += 1
            if pos < len(text) and text[pos] == ",":
                pos += 1
        return tree

    def pick(value, tree):
        if not tree or "*" in tree:
            return value
        if isinstance(value, list):
            return [pick(v, tree) for v in value]
        return {n: pick(value[n], t) for n, t in tree.items() if n in value}
    return pick(data, parse())


def cond_of(args, suffix="", into=""):
    """The preconditions among the parameters; suffix "Source" for those of the source."""
    names = (("match", "GenerationMatch"), ("not_match", "GenerationNotMatch"),
             ("meta_match", "MetagenerationMatch"),
             ("meta_not_match", "MetagenerationNotMatch"))
    found = {}
    for ours, theirs in names:
        value = args.get("if" + suffix + theirs)
        if value is not None:
            if not value.isdigit():
                raise invalid("Invalid value for if%s%s" % (suffix, theirs))
            found[into + ours] = value
    return found


def checked_name(name):
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise invalid("The name is not UTF-8") from None
    if not raw or len(raw) > 1024 or name in DOT or "\r" in name or "\n" in name \
            or name.startswith(".well-known/acme-challenge/"):
        raise invalid("The specified object name is not valid: " + ascii(name)[:60])
    return name


def meta_of(data):
    meta = {n: data[n] for n in SETTABLE if data.get(n) is not None}
    if meta.get("storageClass", "STANDARD") not in CLASSES:
        raise invalid("Invalid storage class " + str(meta["storageClass"]))
    if "customTime" in meta:
        try:
            datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", meta["customTime"])
                                   .replace("Z", "+00:00"))
        except ValueError:
            raise invalid("Invalid customTime") from None
    metadata = meta.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise invalid("metadata is a map of strings")
    if sum(len(n.encode()) + len(v.encode()) for n, v in metadata.items()) > 8192:
        raise invalid("Metadata part is too large.")
    return meta


def json_of(data):
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError:
        raise S3Error(400, "parseError", "Parse Error") from None
    if not isinstance(found, dict):
        raise S3Error(400, "parseError", "Parse Error")
    return found


def body_json(req):
    return json_of(req.body.read(0, req.body.size))


def handle(server, req, act):
    store, args = server.store, req.args
    if req.route is None:
        raise S3Error(404, "notFound", "Not Found")
    if server.payer and not args.get("userProject"):
        raise S3Error(400, "required", "Bucket is a requester pays bucket but no user project "
                      "provided.")
    store.bucket(req.bucket)
    if req.route == "upload":
        return upload(store, req, act)
    if not req.key and req.verb is None:
        return handle_bucket(store, req)
    if not req.key and req.verb == "o" and req.method == "GET":
        return list_objects(server, req)
    if not req.key and req.verb == "storageLayout" and req.method == "GET":
        return answer({"kind": "storage#storageLayout", "bucket": req.bucket,
                       "hierarchicalNamespace": {"enabled": False}})
    if req.key and req.method == "POST" and req.verb in POSTS:
        return POSTS[req.verb](server, req)
    if not req.key or req.verb is not None:
        raise S3Error(404, "notFound", "Not Found")
    return handle_object(store, req)


def handle_bucket(store, req):
    if req.method != "GET":
        raise S3Error(405, "methodNotAllowed", "Method not allowed")
    return answer(masked({"kind": "storage#bucket", "name": req.bucket, "id": req.bucket,
                          "location": "US", "storageClass": "STANDARD"},
                         req.args.get("fields")))


def handle_object(store, req):
    args, where = req.args, (req.bucket, req.key)
    cond, generation = cond_of(args), args.get("generation")
    if req.method in ("GET", "HEAD"):
        version = store.get(*where, generation)
        store.check(*where, **cond)
        if args.get("alt") == "media":
            return ranged(version, media_headers(version), req)
        return answer(masked(describe(*where, version), args.get("fields")))
    if req.method == "DELETE":
        store.remove(*where, generation, **cond)
        return Reply(204)
    if req.method in ("PATCH", "PUT"):
        change = body_json(req)
        meta_of({n: v for n, v in change.items() if n != "metadata"})
        if "storageClass" in change:
            raise invalid("storageClass can only be rewritten")
        version = store.patch(*where, {n: change[n] for n in SETTABLE if n in change}, **cond)
        return answer(masked(describe(*where, version), args.get("fields")))
    raise S3Error(405, "methodNotAllowed", "Method not allowed")


def media_headers(version):
    hashes = "crc32c=" + version.crc()
    if not version.composed:
        hashes += ",md5=" + version.body.base64("md5")
    headers = {"Content-Type": version.meta.get("contentType", "application/octet-stream"),
               "ETag": "CJ" + version.etag, "x-goog-generation": version.etag,
               "x-goog-metageneration": str(version.metageneration), "x-goog-hash": hashes,
               "x-goog-stored-content-length": str(version.size),
               "x-goog-stored-content-encoding": "identity",
               "x-goog-storage-class": version.meta.get("storageClass", "STANDARD"),
               "Last-Modified": http_date(version.mtime)}
    for name, value in (version.meta.get("metadata") or {}).items():
        headers["x-goog-meta-" + name] = quote(value, safe=" !#$&'()*+,/:;=?@[]")
    return headers


def list_objects(server, req):
    args = req.args
    prefix, delimiter = args.get("prefix", ""), args.get("delimiter", "")
    limit = min(PAGE, server.page, int(args.get("maxResults", PAGE)))
    after = ""
    token = args.get("pageToken", "")
    if token.startswith("-") and server.empty_pages:  # the page with nothing comes first
        token = token[1:]
    elif server.empty_pages:
        return answer(masked({"kind": "storage#objects", "nextPageToken": "-" + token},
                             args.get("fields")))
    if token:
        try:
            after = urlsafe_b64decode(token.encode()).decode()
        except ValueError:
            raise invalid("Invalid pageToken") from None
    with SHARED:
        entries, more = server.store.list(req.bucket, prefix, delimiter, after, limit,
                                          args.get("startOffset", ""))
        data = {"kind": "storage#objects"}
        items = [describe(req.bucket, name, v) for name, v in entries if v]
        prefixes = [name for name, v in entries if not v]
        if args.get("includeTrailingDelimiter") == "true":
            there = server.store.buckets[req.bucket]
            items += [describe(req.bucket, n, there[n]) for n in prefixes if n in there]
            items.sort(key=lambda item: item["name"].encode())
    end = args.get("endOffset", "")
    items = [i for i in items if not end or i["name"] < end]
    data.update({"items": items} if items else {})
    data.update({"prefixes": prefixes} if prefixes else {})
    if more:
        data["nextPageToken"] = urlsafe_b64encode(more.encode()).decode()
    return answer(masked(data, args.get("fields")))


def upload(store, req, act):
    kind, args = req.args.get("uploadType"), req.args
    if "upload_id" in args:
        return session(store, req, act)
    if req.method not in ("POST", "PUT"):
        raise S3Error(405, "methodNotAllowed", "Method not allowed")
    cond = cond_of(args)
    if kind == "media":
        meta = {"contentType": req.headers.get("content-type", "application/octet-stream")}
        key = checked_name(args.get("name", ""))
        return made(req, key, store.put(req.bucket, key, req.body, meta, **cond))
    if kind == "multipart":
        return upload_related(store, req, cond)
    if kind != "resumable":
        raise invalid("Unknown uploadType")
    data = body_json(req)
    key = checked_name(data.get("name") or args.get("name", ""))
    meta = meta_of(data)
    meta.setdefault("contentType", req.headers.get("x-upload-content-type",
                                                   "application/octet-stream"))
    size = req.headers.get("x-upload-content-length")
    uid = store.session_begin(req.bucket, key, meta, int(size) if size else None, cond)
    store.uploads[uid]["promised"] = {n: data[n] for n in ("crc32c", "md5Hash") if n in data}
    return Reply(200, {"X-GUploader-UploadID": uid, "Location":
                       "http://%s/upload/storage/v1/b/%s/o?uploadType=resumable&name=%s"
                       "&upload_id=%s" % (req.headers["host"], quote(req.bucket),
                                          quote(key, safe=""), uid)})


def made(req, key, version):
    return answer(masked(describe(req.bucket, key, version), req.args.get("fields")))


def pieces_of(req, kind):
    """The parts of a multipart body -> (headers in lower case, bytes)."""
    found = re.fullmatch(r'multipart/%s;\s*boundary=(?:"([^"]+)"|([^";\s]+))' % kind,
                         req.headers.get("content-type", ""))
    if not found:
        raise S3Error(400, "badContent", "not multipart/%s with a boundary" % kind)
    data = req.body.read(0, req.body.size)
    mark = b"\r\n--" + (found[1] or found[2]).encode()
    pieces = (b"\r\n" + data).split(mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise S3Error(400, "badContent", "Missing end boundary in multipart body.")
    parts = []
    for piece in pieces[1:-1]:
        head, mid, body = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        if not mid:
            raise S3Error(400, "badContent", "a part without headers")
        parts.append((head.decode("latin-1").lower(), body))
    return parts


def batch(req, run):
    """Up to 100 requests in one; run(head, body) answers one of them."""
    parts, out = pieces_of(req, "mixed"), b""
    if len(parts) > 100:
        raise invalid("more than 100 requests in a batch")
    for headers, body in parts:
        if "application/http" not in headers:
            raise S3Error(400, "badContent", "a part that is no request")
        head, _, inner = body.partition(b"\r\n\r\n")
        reply = run(head.strip(), inner)
        name = re.search(r"content-id:\s*<?([^>\r\n]*)", headers)
        out += ("--batch_gcsd\r\nContent-Type: application/http\r\nContent-ID: <response-%s>"
                "\r\n\r\nHTTP/1.1 %d Done\r\nContent-Length: %d\r\n\r\n"
                % (name[1] if name else "", reply.status, len(reply.body))).encode()
        out += reply.body + b"\r\n"
    return Reply(200, {"Content-Type": "multipart/mixed; boundary=batch_gcsd"},
                 out + b"--batch_gcsd--\r\n")


def upload_related(store, req, cond):
    """multipart/related: a JSON description and the bytes."""
    parts = pieces_of(req, "related")
    if len(parts) != 2:
        raise S3Error(400, "badContent", "not two parts")
    described = json_of(parts[0][1])
    if "application/json" not in parts[0][0]:
        raise S3Error(400, "badContent", "Metadata part is not JSON")
    key = checked_name(described.get("name") or req.args.get("name", ""))
    meta = meta_of(described)
    kind = re.search(r"content-type:\s*(\S+)", parts[1][0])
    meta.setdefault("contentType", kind[1] if kind else "application/octet-stream")
    body = store.body_of(parts[1][1])
    verify(body, described, req)
    return made(req, key, store.put(req.bucket, key, body, meta, **cond))


def verify(body, described, req):
    """Hold the client to the checksums that it gives."""
    said = dict(described)
    for pair in req.headers.get("x-goog-hash", "").split(","):
        name, _, value = pair.strip().partition("=")
        if name:
            said[{"md5": "md5Hash"}.get(name, name)] = value
    if said.get("crc32c") not in (None, crc32c(body)):
        raise invalid("Provided CRC32C \"%s\" doesn't match calculated CRC32C" % said["crc32c"])
    if said.get("md5Hash") not in (None, body.base64("md5")):
        raise invalid("Provided MD5 hash doesn't match calculated MD5 hash")


def session(store, req, act):
    """One chunk, a question (bytes */N) or the end of a resumable upload."""
    uid = req.args["upload_id"]
    if req.method == "DELETE":
        store.session_end(uid)
        return Reply(499)
    if req.method not in ("PUT", "POST"):
        raise S3Error(405, "methodNotAllowed", "Method not allowed")
    up = store.session(uid)
    given = req.headers.get("content-range", "")
    found = re.fullmatch(r"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+|\*)", given)
    if given and not found:
        raise invalid("Failed to parse Content-Range header.")
    first, total = 0 if not given else None, req.body.size if not given else None
    if found and found[1] is not None:
        first = int(found[1])
        if int(found[2]) - first + 1 != req.body.size:
            raise invalid("Content-Range does not match the body's length")
    if found and found[3] != "*":
        total = int(found[3])
    if first is not None and (total is None or first + req.body.size < total) \
            and req.body.size % QUANTUM:
        raise invalid("Invalid request. The number of bytes uploaded is required to be a "
                      "multiple of 262144, except for the final request")
    data = req.body.read(0, req.body.size)
    version = store.session_add(uid, first, data, total, act.get("keep"),
                                lambda body: verify(body, up["promised"], req))
    if version:
        return made(req, up["key"], version)
    have = up["body"].size
    return Reply(308, {"Range": "bytes=0-%d" % (have - 1)} if have else {})


def split_target(req, word):
    """o/DST, or b/BUCKET/o/DST."""
    found = re.fullmatch("(?:b/([^/]+)/)?o/([^/]+)", req.verb_rest)
    if not found or bool(found[1]) != (word != "moveTo"):
        raise S3Error(404, "notFound", "Not Found")
    return unquote(found[1] or req.bucket), checked_name(unquote(found[2]))


def rewrite(server, req):
    store, args = server.store, req.args
    bucket, key = split_target(req, req.verb)
    store.bucket(bucket)
    source = store.get(req.bucket, req.key, args.get("sourceGeneration"))
    store.check(req.bucket, req.key, **cond_of(args, "Source"))
    described, token = body_json(req), args.get("rewriteToken")
    done = 0
    if token:
        known = server.copies.get(token)
        if not known or known[:2] != (source.etag, key):
            raise invalid("The rewrite token is invalid")
        done = known[2]
    done = min(source.size, done + (server.rewrite_step or source.size))
    if done < source.size:
        server.copies[token or (token := "T%d" % (len(server.copies) + 1))] = (
            source.etag, key, done)
        return answer({"kind": "storage#rewriteResponse", "done": False,
                       "totalBytesRewritten": str(done), "objectSize": str(source.size),
                       "rewriteToken": token})
    meta = meta_of(described) if described else dict(source.meta)
    version = store.put(bucket, key, source.body, meta, op="copy", composed=source.composed,
                        **cond_of(args))
    resource = describe(bucket, key, version)
    if req.verb == "copyTo":
        return answer(masked(resource, args.get("fields")))
    return answer(masked({"kind": "storage#rewriteResponse", "done": True,
                          "totalBytesRewritten": str(done), "objectSize": str(source.size),
                          "resource": resource}, args.get("fields")))


def move(server, req):
    if server.move != 200:
        raise S3Error(server.move, {404: "notFound", 501: "notImplemented"}.get(
            server.move, "invalid"), "moveTo is not to be had for this bucket")
    _, key = split_target(req, "moveTo")
    version = server.store.move(req.bucket, req.key, key, cond_of(req.args, "Source"),
                                **cond_of(req.args))
    return made(req, key, version)


def compose(server, req):
    if req.verb_rest:
        raise S3Error(404, "notFound", "Not Found")
    data = body_json(req)
    sources = [(s.get("name", ""), s.get("generation"),
                (s.get("objectPreconditions") or {}).get("ifGenerationMatch"))
               for s in data.get("sourceObjects", [])]
    version = server.store.compose(req.bucket, checked_name(req.key), sources,
                                   meta_of(data.get("destination") or {}), **cond_of(req.args))
    if req.args.get("deleteSourceObjects") == "true" or data.get("deleteSourceObjects"):
        for name, _, _ in sources:
            if name != req.key:
                server.store.remove(req.bucket, name)
    return made(req, req.key, version)


POSTS = {"rewriteTo": rewrite, "copyTo": rewrite, "moveTo": move, "compose": compose}
