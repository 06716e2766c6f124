"""The scripted S3 server is itself believed only because boto3 and AWS's vectors agree."""
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3ctl  # noqa: E402
import sigv4  # noqa: E402


@pytest.fixture(scope="module")
def s3d(tmp_path_factory):
    server = s3ctl.S3d(tmp_path_factory.mktemp("s3d"))
    yield server
    server.stop()


@pytest.fixture
def s3(s3d):
    s3d.reset()
    return client(s3d)


def client(s3d, secret=None):
    return boto3.client("s3", endpoint_url=s3d.url, region_name="us-east-1",
                        aws_access_key_id=s3d.access_key,
                        aws_secret_access_key=secret or s3d.secret_key,
                        config=Config(retries={"max_attempts": 0},
                                      s3={"addressing_style": "path"}))


def refused(call, **args):
    with pytest.raises(ClientError) as info:
        call(Bucket="test", **args)
    return info.value.response["Error"]["Code"]


def test_signature_is_the_published_one():
    """GET Object and PUT Object from the AWS documentation."""
    headers = {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9",
               "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
               "x-amz-date": "20130524T000000Z"}
    got, _ = sigv4.signature("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                             "20130524/us-east-1/s3/aws4_request", "20130524T000000Z", "GET",
                             "/test.txt", "", headers, sorted(headers),
                             hashlib.sha256(b"").hexdigest())
    assert got == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.mark.parametrize("key", ["a", "d/e.fits", "sp ace", "+=&?#%", "é/ü", "x" * 1000,
                                 "a//b", "../up", "new\nline", "\x01"])
def test_objects_round_trip_under_any_key(s3, key):
    s3.put_object(Bucket="test", Key=key, Body=b"bytes", Metadata={"mtime": "1.5"})
    got = s3.get_object(Bucket="test", Key=key)
    assert got["Body"].read() == b"bytes" and got["Metadata"] == {"mtime": "1.5"}
    assert got["ETag"] == '"%s"' % hashlib.md5(b"bytes").hexdigest()
    assert [c["Key"] for c in s3.list_objects_v2(Bucket="test")["Contents"]] == [key]
    s3.delete_object(Bucket="test", Key=key)
    assert refused(s3.get_object, Key=key) == "NoSuchKey"


def test_request_that_does_not_arrive_whole_meets_nothing(s3d, s3):
    """Its fault is the next one's, which is the first that can be told of it."""
    s3d.rule("status", op="put", key="^k$", status=500, code="InternalError", count=1)
    with socket.create_connection(("127.0.0.1", s3d.port)) as sock:
        sock.sendall(b"PUT /test/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
    deadline = time.monotonic() + 10
    codes = []
    while not codes and time.monotonic() < deadline:
        try:
            s3.put_object(Bucket="test", Key="k", Body=b"whole")
        except ClientError as err:
            codes.append(err.response["Error"]["Code"])
    assert codes == ["InternalError"]
    assert [r["act"] for r in s3d.log() if r["op"] == "put" and r["act"]] == ["status"]


def test_wrong_secret_is_refused(s3d, s3):
    assert refused(client(s3d, "wrong").list_objects_v2) == "SignatureDoesNotMatch"


def test_ranges_and_conditions_of_reads(s3):
    body = os.urandom(3 << 20)
    etag = s3.put_object(Bucket="test", Key="k", Body=body)["ETag"]
    for given, want in (("bytes=0-0", body[:1]), ("bytes=5-", body[5:]),
                        ("bytes=-7", body[-7:]), ("bytes=9-99999999", body[9:])):
        got = s3.get_object(Bucket="test", Key="k", Range=given, IfMatch=etag)
        assert got["Body"].read() == want, given
    assert refused(s3.get_object, Key="k", Range="bytes=99999999-") == "InvalidRange"
    assert refused(s3.get_object, Key="k", IfMatch='"other"') == "PreconditionFailed"


def test_listing_in_pages_with_delimiter(s3):
    for n in range(25):
        s3.put_object(Bucket="test", Key="d/%02d" % n)
        s3.put_object(Bucket="test", Key="d/s%02d/x" % n)
    pages = list(s3.get_paginator("list_objects_v2").paginate(
        Bucket="test", Prefix="d/", Delimiter="/", PaginationConfig={"PageSize": 7}))
    names = [c["Key"] for p in pages for c in p.get("Contents", [])]
    dirs = [c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])]
    assert len(pages) == 8
    assert names == ["d/%02d" % n for n in range(25)]
    assert dirs == ["d/s%02d/" % n for n in range(25)]


def conditional(s3, operation, header, value, **args):
    """This boto3 knows no preconditions for writes: put the header in before signing."""
    def add(request, **_):
        request.headers[header] = value
    event = "before-sign.s3." + operation.__name__.title().replace("_", "")
    s3.meta.events.register_first(event, add)
    try:
        return operation(Bucket="test", **args)
    finally:
        s3.meta.events.unregister(event, add)


def test_conditional_writes(s3):
    etag = conditional(s3, s3.put_object, "If-None-Match", "*", Key="k", Body=b"1")["ETag"]
    for header, value, key, code in (("If-None-Match", "*", "k", "PreconditionFailed"),
                                     ("If-Match", '"x"', "k", "PreconditionFailed"),
                                     ("If-Match", etag, "none", "NoSuchKey")):
        with pytest.raises(ClientError) as info:
            conditional(s3, s3.put_object, header, value, Key=key, Body=b"2")
        assert info.value.response["Error"]["Code"] == code
    conditional(s3, s3.put_object, "If-Match", etag, Key="k", Body=b"3")
    with pytest.raises(ClientError):
        conditional(s3, s3.delete_object, "If-Match", etag, Key="k")
    assert s3.get_object(Bucket="test", Key="k")["Body"].read() == b"3"


def test_uploads_tell_when_their_request_came(s3d, s3):
    """Not when it was read: a busy server takes even the connection much later."""
    with ThreadPoolExecutor() as threads:
        s3d.process.send_signal(signal.SIGSTOP)
        asked = threads.submit(s3.create_multipart_upload, Bucket="test", Key="late")
        time.sleep(0.5)
        between = time.time()
        s3d.process.send_signal(signal.SIGCONT)
        uid = asked.result()["UploadId"]
    begun, = s3d.uploads()
    assert begun["arrived"] < between < begun["begun"] and begun["parts"] == 0
    s3.upload_part(Bucket="test", Key="late", UploadId=uid, PartNumber=1, Body=b"x")
    assert [u["parts"] for u in s3d.uploads()] == [1]


TYPED = {"ContentType": "text/plain", "ContentEncoding": "gzip", "CacheControl": "no-cache",
         "ContentDisposition": "inline", "ContentLanguage": "en",
         "WebsiteRedirectLocation": "/x", "StorageClass": "STANDARD_IA",
         "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "BucketKeyEnabled": True,
         "Metadata": {"a": "b"}}


def described(s3, key):
    head = s3.head_object(Bucket="test", Key=key)
    tags = s3.get_object_tagging(Bucket="test", Key=key)["TagSet"]
    count = head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-tagging-count", "0")
    assert len(tags) == int(count)
    return ({n: head[n] for n in TYPED if n in head},
            {t["Key"]: t["Value"] for t in tags})


def test_what_a_copy_has_of_its_source(s3):
    """By default all but class and encryption; what it replaces it has by its request only."""
    s3.put_object(Bucket="test", Key="k", Body=b"1", Tagging="t=1&u=a%20b", **TYPED)
    tags = {"t": "1", "u": "a b"}
    assert described(s3, "k") == (TYPED, tags)
    place = ("StorageClass", "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")
    s3.copy_object(Bucket="test", Key="c", CopySource="test/k")
    assert described(s3, "c") == ({n: v for n, v in TYPED.items() if n not in place}, tags)
    s3.copy_object(Bucket="test", Key="k", CopySource="test/k", MetadataDirective="REPLACE",
                   CacheControl="public")
    assert described(s3, "k") == ({"ContentType": "binary/octet-stream", "Metadata": {},
                                   "CacheControl": "public"}, tags)
    s3.copy_object(Bucket="test", Key="k", CopySource="test/c", TaggingDirective="REPLACE",
                   Tagging="v=2")
    assert described(s3, "k")[1] == {"v": "2"}
    uid = s3.create_multipart_upload(Bucket="test", Key="m", Tagging="t=1",
                                     **TYPED)["UploadId"]
    etag = s3.upload_part_copy(Bucket="test", Key="m", UploadId=uid, PartNumber=1,
                               CopySource="test/c")["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(Bucket="test", Key="m", UploadId=uid, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert described(s3, "m") == (TYPED, {"t": "1"})
    assert refused(s3.put_object, Key="x", Body=b"", Tagging="&".join(
        "t%d=" % n for n in range(11))) == "BadRequest"


def test_multipart_copy_and_their_log(s3d, s3):
    a, b = os.urandom(5 << 20), os.urandom(1000)
    uid = s3.create_multipart_upload(Bucket="test", Key="m", Metadata={"x": "y"})["UploadId"]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(
        Bucket="test", Key="m", UploadId=uid, PartNumber=n, Body=d)["ETag"]}
        for n, d in ((1, a), (2, b))]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket="test")["Uploads"]] == [uid]
    s3.complete_multipart_upload(Bucket="test", Key="m", UploadId=uid,
                                 MultipartUpload={"Parts": parts})
    assert s3d.uploads() == []
    assert s3d.commits("m")[-1]["sha256"] == hashlib.sha256(a + b).hexdigest()
    s3.copy_object(Bucket="test", Key="c", CopySource="test/m")
    got = s3.get_object(Bucket="test", Key="c")
    assert got["Body"].read() == a + b and got["Metadata"] == {"x": "y"}
    uid = s3.create_multipart_upload(Bucket="test", Key="p")["UploadId"]
    s3.upload_part_copy(Bucket="test", Key="p", UploadId=uid, PartNumber=1,
                        CopySource="test/m", CopySourceRange="bytes=1-1000")
    part = s3.list_parts(Bucket="test", Key="p", UploadId=uid)["Parts"]
    assert [p["Size"] for p in part] == [1000]
    s3.abort_multipart_upload(Bucket="test", Key="p", UploadId=uid)
    assert refused(s3.list_parts, Key="p", UploadId=uid) == "NoSuchUpload"
    s3.delete_objects(Bucket="test", Delete={"Objects": [{"Key": "m"}, {"Key": "c"}]})
    assert s3.list_objects_v2(Bucket="test")["KeyCount"] == 0


def test_small_part_and_wrong_digest_are_refused(s3):
    uid = s3.create_multipart_upload(Bucket="test", Key="m")["UploadId"]
    etags = [s3.upload_part(Bucket="test", Key="m", UploadId=uid, PartNumber=n,
                            Body=b"x")["ETag"] for n in (1, 2)]
    parts = [{"PartNumber": n + 1, "ETag": e} for n, e in enumerate(etags)]
    assert refused(s3.complete_multipart_upload, Key="m", UploadId=uid,
                   MultipartUpload={"Parts": parts}) == "EntityTooSmall"
    assert refused(s3.put_object, Key="k", Body=b"x",
                   ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==") == "BadDigest"


def test_body_that_is_spoilt_on_its_way_is_not_taken(s3d, s3):
    s3d.rule("spoil", op="put", count=1, at=3)
    assert refused(s3.put_object, Key="a", Body=b"hello") in (
        "BadDigest", "XAmzContentSHA256Mismatch")
    s3.put_object(Bucket="test", Key="a", Body=b"hello")
    assert [c["size"] for c in s3d.commits("a")] == [5]


def test_faults_happen_when_and_as_often_as_told(s3d, s3):
    body = bytes(range(256)) * 4096
    s3.put_object(Bucket="test", Key="k", Body=body)
    s3d.rule("status", method="GET", key="^k$", nth=2, count=1, status=503, code="SlowDown")
    assert s3.get_object(Bucket="test", Key="k")["Body"].read() == body
    assert refused(s3.get_object, Key="k") == "SlowDown"
    assert s3.get_object(Bucket="test", Key="k")["Body"].read() == body
    s3d.clear()
    s3d.rule("reset", count=1)
    with pytest.raises((ConnectionError, HTTPClientError)):
        s3.get_object(Bucket="test", Key="k")
    s3d.rule("close_at", at=1000, count=1)
    s3d.clear()
    s3d.rule("lie_range", shift=5, count=1)
    got = s3.get_object(Bucket="test", Key="k", Range="bytes=0-9")
    assert got["ContentRange"] == "bytes 5-14/%d" % len(body)
    s3d.clear()
    s3d.rule("drop_reply", method="PUT", count=1)
    with pytest.raises((ConnectionError, HTTPClientError)):
        s3.put_object(Bucket="test", Key="new", Body=b"there")
    assert s3.get_object(Bucket="test", Key="new")["Body"].read() == b"there"


def test_log_and_another_client(s3d, s3, tmp_path):
    (tmp_path / "f").write_bytes(b"z" * (2 << 20))
    etag = s3d.put("by/file", path=str(tmp_path / "f"))
    s3d.mark()
    assert s3.get_object(Bucket="test", Key="by/file", Range="bytes=1-2")["ETag"] == etag
    (entry,) = s3d.new()
    assert (entry["method"], entry["key"], entry["range"], entry["status"], entry["sent"]) \
        == ("GET", "by/file", "bytes=1-2", 206, 2)


def test_ranged_gets_are_fast_enough(s3d, s3, tmp_path):
    """The server must not be what a read test measures.  Prints; asserts only sanity."""
    (tmp_path / "f").write_bytes(os.urandom(1 << 20) * 64)
    s3d.put("big", path=str(tmp_path / "f"))
    signed = s3.get_object(Bucket="test", Key="big")["Body"]
    start, n = time.time(), 0
    while True:
        data = signed.read(1 << 20)
        if not data:
            break
        n += len(data)
    rate = n / (time.time() - start) / 1e6
    print("s3d: %.0f MB/s through boto3" % rate)
    assert n == 64 << 20


def test_garbage_ends_only_its_connection(s3d, s3):
    conn = http.client.HTTPConnection("127.0.0.1", s3d.port)
    conn.request("GET", "/test/k")
    assert conn.getresponse().status == 403
    assert s3.list_objects_v2(Bucket="test")["KeyCount"] == 0


def test_same_seed_same_faults(s3d, s3):
    """What a request meets depends on the seed, not on what came in between."""
    def run(seed, other=0):
        s3d.reset()
        s3d.put("k", b"bytes")
        s3d.chaos(0.5, seed, op="get", kinds=["status"])
        for n in range(20):
            for _ in range(other):
                refused_or_not(s3, "other")
            refused_or_not(s3, "k")
        return [r["status"] for r in s3d.log() if r["key"] == "k"]

    first = run(7)
    assert first == run(7, other=2) and first != run(8)
    assert {200} < set(first) <= {200, 429, 500, 503}


def refused_or_not(s3, key):
    try:
        s3.get_object(Bucket="test", Key=key)
    except ClientError:
        pass


def test_faults_from_the_first_request_on(tmp_path):
    server = s3ctl.S3d(tmp_path, "--faults", "1", "--seed", "3")
    try:
        with pytest.raises((ClientError, ConnectionError, HTTPClientError)):
            for _ in range(5):  # a delay is a fault, too
                client(server).put_object(Bucket="test", Key="k", Body=b"1")
        server.clear()
        client(server).put_object(Bucket="test", Key="k", Body=b"2")
    finally:
        server.stop()


def test_commit_log_tells_what_was_acknowledged(tmp_path):
    log = tmp_path / "commits"
    server = s3ctl.S3d(tmp_path, "--commits", str(log))
    try:
        s3 = client(server)
        before = time.monotonic_ns()
        s3.put_object(Bucket="test", Key="a", Body=b"1", Metadata={"mastfs-tag": "t1"})
        while "acked" not in server.commits()[0]:  # the answer may be here before it is noted
            assert time.monotonic_ns() < before + 10 ** 10
        server.rule("drop_reply", op="put")
        with pytest.raises((ConnectionError, HTTPClientError)):
            s3.put_object(Bucket="test", Key="b", Body=b"2")
        a, b = server.commits()
    finally:
        server.stop()
    assert before < a["ns"] < a["acked"] < b["ns"] < time.monotonic_ns() and "acked" not in b
    assert (a["tag"], a["sha256"]) == ("t1", hashlib.sha256(b"1").hexdigest())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["n"] for line in lines] == [a["n"], a["n"], b["n"]]


def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_clients_are_counted(s3d):
    """But for who asks; and one that is gone only after all that it had sent was seen."""
    s3d.reset()
    before = s3d.clients()
    with socket.create_connection(("127.0.0.1", s3d.port)) as sock:
        until(lambda: s3d.clients() == before + 1)
        sock.sendall(b"GET /test/none HTTP/1.1\r\nHost: here\r\n\r\n")
    until(lambda: s3d.clients() == before)
    assert [r["key"] for r in s3d.log()] == ["none"]


@contextlib.contextmanager
def finishing(s3d, uid):
    """A CompleteMultipartUpload that waits for its answer, which is no matter here."""
    with socket.create_connection(("127.0.0.1", s3d.port)) as sock:
        before = len(s3d.log())
        sock.sendall(b"POST /test/k?uploadId=%s HTTP/1.1\r\nHost: x\r\n\r\n" % uid)
        until(lambda: len(s3d.log()) > before)
        yield sock


def test_two_that_finish_one_upload_at_a_time_are_noted(s3d):
    s3d.reset()
    s3d.rule("delay", op="finish", secs=3)
    with finishing(s3d, b"u1"), finishing(s3d, b"u2"):
        assert s3d.overlaps() == []
        with finishing(s3d, b"u1"):
            assert s3d.overlaps() == [{"key": "k", "what": "u1"}]


def test_one_after_the_other_is_no_overlap(s3d):
    """Also where the first is still at work for a client that has hung up."""
    s3d.reset()
    with finishing(s3d, b"u1") as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 403")
        with finishing(s3d, b"u1"):
            pass
    s3d.rule("delay", op="finish", secs=3)
    with finishing(s3d, b"u1"):
        pass
    with finishing(s3d, b"u1"):
        assert s3d.overlaps() == []


def test_log_that_is_not_kept(s3d, s3):
    s3d.config(log=False)
    s3.put_object(Bucket="test", Key="k", Body=b"bytes")
    assert s3d.log() == [] and [c["key"] for c in s3d.commits()] == ["k"]
