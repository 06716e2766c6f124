"""faultlist.py - what can go wrong on the way to a store and in it, and what may come of it.

A Fault is an act of the scripted servers (lies.py, wire.py, s3lies.py) with the requests that
it may meet.  It comes in two modes: "once", then the server is honest; and "lasting", until
it is lifted.  For each there is the set of errnos that the operation may end with; the empty
set means that it must succeed.  Success is always allowed, and always checked byte by byte.
"""
from errno import EACCES, EIO, ENOENT, ESTALE, ETIMEDOUT

GOES = frozenset()
SPENT = frozenset((EIO, ETIMEDOUT))  # the tries, or the time
REFUSED = frozenset((EACCES,))
CHANGED = frozenset((ESTALE,))
LIED = frozenset((EIO, ESTALE))
# part, finish: of an upload in parts.  copy, moved: a rename's COPY, and its DELETE of the
# old name.  download: a .part that is renamed.
ALL = ("read", "stat", "list", "put", "part", "finish", "copy", "download", "moved", "delete")
WRITES = ALL[3:]
TOLD = ALL[:-2]  # to a DELETE, any 2xx says that it is done
BODIES = ("read", "list", "finish", "copy")  # answers that have one
LATE = 30  # seconds: longer than anything waits here


class Fault:
    def __init__(self, name, act, ops=ALL, once=GOES, lasting=SPENT, limit=None, nth=1,
                 final=False):
        self.name, self.act, self.ops = name, act, ops
        self.once, self.lasting, self.nth = once, lasting, nth
        self.limit = limit  # in words: what nobody can see, and what is left then
        self.final = final  # a refusal: what was journaled is not asked for again


def kind(kind, **act):
    return {"kind": kind, **act}


def head(*lines, **headers):
    return {"kind": "head", "set": headers.get("set", {}), "drop": headers.get("drop", []),
            "add": list(lines)}


def status(code, word="", retry=None, **more):
    headers = {"Retry-After": retry} if retry is not None else {}
    return kind("status", status=code, code=word, headers=headers, **more)


TRANSPORT = [
    Fault("F2 silence", kind("silent", secs=LATE), once=SPENT),
    Fault("F3 RST before the headers", kind("reset")),
    Fault("F4 RST in the body", kind("close_at", at=100, rst=True), BODIES),
    Fault("F4 RST in the headers", kind("cut_head", at=40, rst=True)),
    Fault("F5 FIN in the body", kind("close_at", at=100), BODIES),
    Fault("F5 FIN in the status line", kind("cut_head", at=7)),
    Fault("F6 FIN without a length", kind("wire", framing="close", at=100), BODIES),
    Fault("F6 no length, all there", kind("wire", framing="close"), BODIES),
    Fault("F7 chunks that end early", kind("wire", framing="chunked", at=150), BODIES),
    Fault("F7 chunks without an end", kind("wire", framing="chunked", no_end=True, at=1 << 40),
          BODIES),
    Fault("F7 chunks, all there", kind("wire", framing="chunked"), BODIES, lasting=GOES),
    Fault("F8 headers, 1 B/s", kind("drip", part="head", secs=1), once=SPENT),
    Fault("F9 body, 1 B/s", kind("drip", part="body", secs=1), BODIES, once=SPENT),
    Fault("F10 stall, then go", kind("stall", at=200, secs=0.5), BODIES, lasting=GOES),
    Fault("F10 stall for long", kind("stall", at=200, secs=LATE), BODIES, once=SPENT),
    Fault("F12 late", kind("delay", secs=0.3), lasting=GOES),
    Fault("F13 hangs up after each answer", kind("close_at", at=1 << 40), lasting=GOES),
]

STATUS = [
    Fault("F16 500", status(500, "InternalError")),
    Fault("F16 502", status(502)),
    Fault("F17 503", status(503, "SlowDown")),
    Fault("F17 503, now", status(503, "SlowDown", "0")),
    Fault("F17 503, in 2 s", status(503, "SlowDown", "2")),
    Fault("F17 503, in 30 years", status(503, "SlowDown", "1000000000"), once=SPENT),
    Fault("F17 503, abc", status(503, "SlowDown", "abc")),
    Fault("F18 429", status(429, "TooManyRequests")),
    Fault("F19 504", status(504)),
    Fault("F20 408", status(408, "RequestTimeout")),
    Fault("F23 403", status(403, "AccessDenied"), once=REFUSED, lasting=REFUSED, final=True),
    Fault("F23 401", status(401), once=REFUSED, lasting=REFUSED),
    Fault("F24 404", status(404, "NoSuchKey"), ("read", "put", "part", "copy", "finish"),
          once=LIED | {ENOENT}, lasting=LIED | {ENOENT}),
    Fault("F24 404 for the bucket", status(404, "NoSuchBucket"), once=SPENT, lasting=SPENT),
    Fault("F25 409", status(409, "ConditionalRequestConflict"), WRITES),
    Fault("F25 412", status(412, "PreconditionFailed"),
          ("read", "put", "finish", "copy", "download"), once=LIED, lasting=LIED),
    Fault("F26 416", status(416, "InvalidRange"), ("read",), once=LIED, lasting=LIED),
    Fault("F46 expired keys", status(400, "ExpiredToken"), once=REFUSED, lasting=REFUSED),
    Fault("F46 bad signature", status(403, "SignatureDoesNotMatch"), once=REFUSED,
          lasting=REFUSED),
    Fault("F46 skewed clock", status(403, "RequestTimeTooSkewed"), once=REFUSED,
          lasting=REFUSED),
    Fault("nonsense 299", status(299), TOLD, once=SPENT),
    Fault("nonsense 418", status(418), once=SPENT),
    Fault("nonsense 666", status(666)),
] + [
    Fault("F46 %s, at part 2" % name, status(code, word), ("part", ), once=REFUSED,
          lasting=REFUSED, nth=2)
    for name, code, word in (("expired keys", 400, "ExpiredToken"),
                             ("bad signature", 403, "SignatureDoesNotMatch"),
                             ("skewed clock", 403, "RequestTimeTooSkewed"))]

SHAPE = [
    Fault("F22 never told to go on", kind("wire", **{"continue": "never"}), ("part", "put"),
          lasting=GOES),
    Fault("F22 told late", kind("wire", **{"continue": 1}), ("part",), lasting=GOES),
    Fault("F22 503 before the body", kind("early", status=503, code="SlowDown"),
          ("part", "put")),
    Fault("F27 204", kind("empty", status=204), TOLD),
    Fault("F27 empty 200", kind("empty"), TOLD),
    Fault("F28 error in a 200", kind("error_200"), TOLD),
    Fault("F28 SlowDown in a 200", kind("error_200", code="SlowDown"), TOLD),
    Fault("F29 wrong start", kind("lie_range", shift=4096), ("read", )),
    Fault("F29 wrong total", kind("lie_range", content_range="bytes 0-599999/600001"),
          ("read", )),
    Fault("F29 of no total", kind("lie_range", content_range="bytes 0-599999/*"), ("read", )),
    Fault("F29 none satisfiable", kind("lie_range", content_range="bytes */600000"),
          ("read", )),
    Fault("F29 overflow", kind("lie_range", content_range="bytes 0-18446744073709551615/"
                               "18446744073709551616"), ("read", )),
    Fault("F29 no Content-Range", head(drop=["Content-Range"]), ("read", )),
    Fault("F30 200 for a range", kind("ignore_range"), ("pinned", )),
    Fault("F31 length too small", head(set={"Content-Length": "5"}), BODIES),
    Fault("F31 length too large", head(set={"Content-Length": "700000"}), BODIES,
          once=SPENT),
    Fault("F31 a length where nothing is", head(set={"Content-Length": "9"}),
          ("put", "part"), once=SPENT),
    Fault("F31 two lengths", head("Content-Length: 5")),
    Fault("F31 length overflows", head(set={"Content-Length": "99999999999999999999999"})),
    Fault("F31 length below nothing", head(set={"Content-Length": "-1"})),
    Fault("F31 length of letters", head(set={"Content-Length": "many"})),
    Fault("F31 length and chunks", head("Transfer-Encoding: chunked"), BODIES),
    Fault("F32 header bomb", head(*["X-Bomb-%d: %s" % (n, "x" * 1000) for n in range(1000)])),
    Fault("F32 a header of 1 MB", head("X-Bomb: " + "x" * (1 << 20))),
    Fault("F32 NUL in a header", head("X-Bad: a\0b")),
    Fault("F32 CR in a header", head("X-Bad: a\rX-Worse: b"), lasting=SPENT),
    Fault("F32 a line without a colon", head("no colon here")),
    Fault("F33 gzip", kind("gzip"), BODIES),
    Fault("F33 an unknown coding", head("Content-Encoding: zz"), ("read", "list", "stat"),
          lasting=GOES),
    Fault("F34 HTTP/1.0", kind("wire", http="HTTP/1.0"), lasting=GOES),
    Fault("F34 HTTP/1.0, cut", kind("wire", http="HTTP/1.0", framing="close", at=99), BODIES),
    Fault("F34 HTTP/2 out of the blue", kind("raw", text="HTTP/2 200\r\n\r\n")),
    Fault("F34 another protocol", kind("raw", text="SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    Fault("F34 100 for ever", kind("raw", text="HTTP/1.1 100 Continue\r\n\r\n" * 20000)),
    Fault("F34 an empty line", kind("raw", text="\r\n\r\n")),
]

MEANING = [
    Fault("F35 bit flip", kind("corrupt", at=70000), ("read", ), lasting=GOES,
          limit="no store has a checksum for any range: one bit of a read differs"),
    Fault("F35 bit flip on the way up", kind("spoil", at=3000),
          ("put", "part", "finish", "download", "long_download")),
    Fault("F35 told of a bit flip", status(400, "BadDigest"), ("put", "part", "download")),
    Fault("F36 zero page", kind("zero", at=4096), ("read", ), lasting=GOES,
          limit="the same: zeros with the right headers"),
    Fault("F37 another object's bytes", kind("other"), ("read", ), lasting=GOES,
          limit="the same: other bytes with the right headers"),
    Fault("F38 the version before under the new ETag", kind("previous"), ("read", ),
          lasting=GOES, limit="the same: old bytes with the new headers"),
    Fault("F39 ETag changes between ranges", kind("wrong_etag"), ("pinned", ), once=LIED,
          lasting=LIED),
    Fault("F40 no ETag", head(drop=["ETag"]), ("read", "put", "part")),
    Fault("F40 weak ETag", head(set={"ETag": 'W/"1"'}), ("read", ), once=LIED, lasting=LIED),
    Fault("F40 huge ETag", head(set={"ETag": '"%s"' % ("e" * 5000)}), ("read", "put", "part")),
    Fault("F40 another ETag for a part", kind("forge", etag='"00"'), ("part", ), once=SPENT),
    Fault("F41 replaced in mid-read", kind("swap"), ("pinned", ), once=CHANGED,
          lasting=CHANGED),
    Fault("F41 deleted in mid-read", kind("vanish"), ("pinned", ), once=CHANGED,
          lasting=CHANGED),
    Fault("F42 done, and no answer", kind("drop_reply"), WRITES + ("begin", "long_download")),
    Fault("F42 done, and 500", status(500, "InternalError", after=True), WRITES),
    Fault("F42 done, and an empty 200", kind("empty", after=True), WRITES),
    Fault("F42 done, and an error in a 200", kind("error_200", after=True), WRITES[:-2]),
    Fault("F43 200, and not done", kind("forge"),
          ("part", "begin", "finish", "copy", "long_download"), once=SPENT),
    Fault("F43 200 to a PUT, and not done", kind("forge"), ("put", ), lasting=GOES,
          limit="the answer is the one of success, with the MD5 that is right: the object is "
                "the old one, whole"),
    Fault("F43 204 to a DELETE, and not done", kind("forge"), ("moved", "delete"),
          lasting=GOES, limit="the object is still there, whole"),
    Fault("F44 NoSuchUpload after success", status(404, "NoSuchUpload", after=True),
          ("finish", "long_download")),
    Fault("F44 the upload is lost", status(404, "NoSuchUpload"), ("part", "finish"),
          once=SPENT),
    Fault("F44 412 after success", status(412, "PreconditionFailed", after=True),
          ("put", "finish", "copy", "download", "long_download"), lasting=CHANGED),
]

LISTS = [Fault("F45 " + how, kind("listing", how=how), ("list", "stat"), **more)
         for how, more in (
             ("reverse", {"lasting": GOES}), ("twice", {"lasting": GOES}),
             ("outside", {"lasting": SPENT}), ("loop", {}), ("no_token", {}), ("huge", {}),
             ("doctype", {}), ("entities", {}), ("deep", {}), ("nul", {}), ("truncated", {}),
             ("foreign", {}), ("sizes", {}), ("not_url", {"lasting": GOES}))]
LISTS += [
    Fault("F45 no entries", kind("listing", how="empty"), ("list", ),
          once=frozenset((ENOENT, )), lasting=frozenset((ENOENT, )),
          limit="a sound page that lacks names: they are missing until it is asked again"),
    Fault("F47 stale after a put", kind("sub", find="<Contents><Key>[^<]*/new<.*?</Contents>",
                                        put=""), ("fresh", ), lasting=GOES),
    Fault("F48 in 1601", kind("listing", how="dates"), ("list", "stat"), lasting=GOES),
] + [Fault("F48 mtime " + name, head("x-amz-meta-mtime: " + text), ("stat", "read"),
           lasting=GOES)
     for name, text in (("below nothing", "-5.5"), ("of 2^63", "9223372036854775808"),
                        ("of letters", "yesterday"), ("nan", "nan"))]

FAMILIES = {"transport": TRANSPORT, "status": STATUS, "shape": SHAPE, "meaning": MEANING,
            "lists": LISTS}


def redirects(trap_port, own_url):
    """F21: nobody follows them, with the keys or without."""
    places = {"another host": "http://127.0.0.1:%d/x" % trap_port,
              "another name": "http://localhost:%d/x" % trap_port,
              "a file": "file:///etc/passwd", "itself": own_url + "/test/some/prefix/x",
              "TLS": "https://127.0.0.1:%d/x" % trap_port,
              "the metadata service": "http://169.254.169.254/latest/meta-data/"}
    found = [Fault("F21 %d to %s" % (code, name), kind("moved", status=code, location=to),
                   ALL, once=SPENT)
             for n, (name, to) in enumerate(places.items())
             for code in ((301, 307, 308)[n % 3], )]
    found.append(Fault("F21 the region is a host's name", kind(
        "moved", status=301, region="127.0.0.1:%d/" % trap_port), ALL, once=SPENT))
    return found
