"""The scripted Google server does what the JSON API's reference says of each request."""
import http.client
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gcsctl  # noqa: E402
from gcsctl import Gcs, GcsError  # noqa: E402

STEP = 256 << 10


@pytest.fixture(scope="module")
def gcsd(tmp_path_factory):
    server = gcsctl.Gcsd(tmp_path_factory.mktemp("gcsd"))
    yield server
    server.stop()


@pytest.fixture
def gcs(gcsd):
    gcsd.reset()
    gcsd.config(move=200, rewrite_step=0, page=1000, empty_pages=False, payer=False)
    return Gcs(gcsd.url, "test")


def refused(status, call, *args, **query):
    with pytest.raises(GcsError) as info:
        call(*args, **query)
    assert info.value.status == status, info.value
    return str(info.value)


@pytest.mark.parametrize("key", ["a", "d/e.fits", "sp ace", "+=&?#%", "é/ü", "x" * 1000,
                                 "a//b", "../up", "\x01", "a%2Fb"])
def test_objects_round_trip_under_any_key(gcs, key):
    made = gcs.put(key, b"bytes", {"metadata": {"mtime": "1.5"}, "storageClass": "NEARLINE"})
    assert gcs.get(key) == b"bytes" and gcs.get(key, "1-2") == b"yt"
    seen = gcs.stat(key)
    assert seen == made and seen["name"] == key and seen["size"] == "5"
    assert seen["metadata"] == {"mtime": "1.5"} and seen["storageClass"] == "NEARLINE"
    assert [i["name"] for i in gcs.list()[0]] == [key]
    gcs.delete(key)
    refused(404, gcs.stat, key)


@pytest.mark.parametrize("key", ["", ".", "..", "a\nb", "a\rb", "x" * 1025])
def test_names_that_google_has_not(gcs, key):
    refused(400, gcs.put, key, b"")


def test_checksums_are_google_s(gcs):
    made = gcs.put("k", b"123456789")
    assert made["crc32c"] == "4waSgw==" and made["md5Hash"] == "JfnnlDI7RTiF9RgfG2JNCw=="
    big = os.urandom(3 << 20)
    given = gcs.put("big", big)["crc32c"]
    gcs.put("big", big, {"crc32c": given})
    refused(400, gcs.put, "big", big[1:], {"crc32c": given})
    refused(400, gcs.put, "big", big, {"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="})


def test_reads_are_pinned(gcs):
    one = gcs.put("k", b"one")["generation"]
    two = gcs.put("k", b"two")["generation"]
    assert int(two) > int(one)
    assert gcs.get("k", generation=two, ifGenerationMatch=two) == b"two"
    refused(404, gcs.get, "k", generation=one)
    refused(412, gcs.get, "k", ifGenerationMatch=one)
    refused(304, gcs.stat, "k", ifGenerationNotMatch=two)
    refused(404, gcs.get, "none", ifGenerationMatch=one)
    refused(416, gcs.get, "k", "3-")
    status, headers, body = gcs.call("GET", gcs.object("k"), headers={"Range": "bytes=1-9"},
                                     alt="media")
    assert (status, headers["content-range"], headers["x-goog-generation"], body) == (
        206, "bytes 1-2/3", two, b"wo")


def test_conditional_writes_and_deletes(gcs):
    one = gcs.put("k", b"1", ifGenerationMatch=0)["generation"]
    refused(412, gcs.put, "k", b"2", ifGenerationMatch=0)
    refused(412, gcs.put, "none", b"2", ifGenerationMatch=one)
    two = gcs.put("k", b"2", ifGenerationMatch=one)["generation"]
    refused(412, gcs.delete, "k", ifGenerationMatch=one)
    refused(404, gcs.delete, "k", generation=one)
    gcs.delete("k", ifGenerationMatch=two)
    refused(404, gcs.delete, "k", ifGenerationMatch=two)


def test_patch_keeps_the_generation(gcs):
    made = gcs.put("k", b"1", {"metadata": {"a": "1", "b": "2"}})
    got = gcs.json("PATCH", gcs.object("k"), {"metadata": {"a": None, "c": "3"},
                                              "customTime": "2026-01-02T03:04:05.123456789Z"},
                   ifMetagenerationMatch=1)
    assert got["metadata"] == {"b": "2", "c": "3"} and got["generation"] == made["generation"]
    assert got["metageneration"] == "2" and got["customTime"].startswith("2026-01-02T03")
    refused(412, gcs.json, "PATCH", gcs.object("k"), {"metadata": {}}, ifMetagenerationMatch=1)
    refused(400, gcs.json, "PATCH", gcs.object("k"), {"customTime": "yesterday"})
    refused(400, gcs.put, "k", b"", {"storageClass": "GLACIER"})


def test_listing_in_pages_with_delimiter(gcsd, gcs):
    gcs.put("d/", b"")
    for n in range(12):
        gcs.put("d/%02d" % n, b"", {"metadata": {"n": str(n)}})
        gcs.put("d/s%02d/x" % n, b"")
    gcs.put("d/s00/", b"")
    for empty in (False, True):
        gcsd.config(empty_pages=empty)
        for page in (1, 7, 1000):
            items, prefixes = gcs.list("d/", delimiter="/", maxResults=page)
            assert [i["name"] for i in items] == ["d/"] + ["d/%02d" % n for n in range(12)]
            assert prefixes == ["d/s%02d/" % n for n in range(12)]
            assert items[3]["metadata"] == {"n": "2"}
    gcsd.config(empty_pages=False)
    items, _ = gcs.list("d/", delimiter="/", includeTrailingDelimiter="true")
    assert [i["name"] for i in items][-1] == "d/s00/"
    assert gcs.list("none/") == ([], [])
    assert len(gcs.list("")[0]) == 26


def test_only_the_fields_that_were_asked_for(gcs):
    gcs.put("d/k", b"", {"metadata": {"a": "1", "b": "2"}})
    assert gcs.stat("d/k", fields="name,metadata/a") == {"name": "d/k", "metadata": {"a": "1"}}
    page = gcs.json("GET", "/storage/v1/b/test/o", fields="items(name,size),nextPageToken")
    assert page == {"items": [{"name": "d/k", "size": "0"}]}
    refused(400, gcs.stat, "d/k", fields="name(")


def begin(gcs, key, meta=None, headers=None, **query):
    _, got, _ = gcs.call("POST", "/upload/storage/v1/b/test/o", {"name": key, **(meta or {})},
                         headers, uploadType="resumable", **query)
    return got["location"][len(gcs.url):]


def send(gcs, session, span, data=b""):
    status, headers, body = gcs.call("PUT", session, data, {"Content-Range": "bytes " + span},
                                     expect=None)
    return status, headers.get("range"), body


def test_resumable_upload(gcsd, gcs):
    data = os.urandom(2 * STEP + 10)
    session = begin(gcs, "k", {"metadata": {"a": "b"}})
    assert send(gcs, session, "*/*")[:2] == (308, None)
    assert send(gcs, session, "0-%d/*" % (STEP - 1), data[:STEP])[:2] == (308, "bytes=0-262143")
    assert send(gcs, session, "*/*")[:2] == (308, "bytes=0-262143")
    assert send(gcs, session, "0-%d/*" % (STEP - 1), data[:STEP])[0] == 308  # again: no harm
    assert send(gcs, session, "600000-600009/*", b"x" * 10)[0] == 400
    assert [u["key"] for u in gcsd.uploads()] == ["k"]
    refused(404, gcs.stat, "k")
    status, _, body = send(gcs, session, "%d-%d/%d" % (STEP, len(data) - 1, len(data)),
                           data[STEP:])
    assert status == 200 and json.loads(body)["size"] == str(len(data))
    assert gcs.get("k") == data and gcs.stat("k")["metadata"] == {"a": "b"}
    assert send(gcs, session, "*/%d" % len(data))[0] == 200  # whose answer was lost
    assert gcsd.uploads() == []


def test_an_upload_keeps_what_arrived(gcsd, gcs):
    data = os.urandom(4 * STEP)
    session = begin(gcs, "k")
    gcsd.rule("keep", method="PUT", count=1, keep=STEP + 100)
    assert send(gcs, session, "0-%d/%d" % (len(data) - 1, len(data)), data)[:2] == (
        308, "bytes=0-262143")
    assert send(gcs, session, "%d-%d/%d" % (STEP, len(data) - 1, len(data)),
                data[STEP:])[0] == 200
    assert gcs.get("k") == data


def test_an_upload_s_precondition_is_of_its_end(gcs):
    session = begin(gcs, "k", ifGenerationMatch=0)
    gcs.put("k", b"other")
    assert send(gcs, session, "0-2/3", b"abc")[0] == 412
    assert gcs.get("k") == b"other"


def test_empty_cancelled_and_unknown_uploads(gcs):
    assert send(gcs, begin(gcs, "k"), "*/0")[0] == 200
    assert gcs.get("k") == b""
    session = begin(gcs, "k")
    assert gcs.call("DELETE", session, expect=None)[0] == 499
    assert send(gcs, session, "0-2/3", b"abc")[0] == 410
    assert send(gcs, session.replace("upload_id=", "upload_id=x"), "*/*")[0] == 404
    session = begin(gcs, "k", {"crc32c": "4waSgw=="})
    assert send(gcs, session, "0-2/3", b"abc")[0] == 400
    assert gcs.get("k") == b""


def test_compose(gcs):
    parts = [gcs.put("p%d" % n, b"%d" % n * 10) for n in range(33)]
    sources = [{"name": p["name"], "generation": p["generation"]} for p in parts]
    target = gcs.object("all", "/compose")
    made = gcs.json("POST", target, {"sourceObjects": sources[:32],
                                     "destination": {"metadata": {"a": "b"}}},
                    ifGenerationMatch=0)
    assert made["componentCount"] == 32 and "md5Hash" not in made and made["size"] == "540"
    assert made["metadata"] == {"a": "b"}
    refused(400, gcs.json, "POST", target, {"sourceObjects": sources})
    refused(412, gcs.json, "POST", target, {"sourceObjects": sources[:2]}, ifGenerationMatch=0)
    sources[1]["generation"] = "1"
    refused(404, gcs.json, "POST", target, {"sourceObjects": sources[:2]})
    refused(412, gcs.json, "POST", target, {"sourceObjects": [
        {"name": "p1", "objectPreconditions": {"ifGenerationMatch": "1"}}]})


def test_rewrite_in_steps(gcsd, gcs):
    data = os.urandom(1000)
    made = gcs.put("from", data, {"metadata": {"a": "b"}})
    gcsd.config(rewrite_step=400)
    target, query, calls = gcs.object("from", "/rewriteTo/b/test/o/to%2Fx"), {}, 0
    while True:
        got = gcs.json("POST", target, b"", sourceGeneration=made["generation"], **query)
        calls += 1
        if got["done"]:
            break
        query = {"rewriteToken": got["rewriteToken"]}
        refused(404, gcs.stat, "to/x")
    assert calls == 3 and got["resource"]["metadata"] == {"a": "b"}
    assert gcs.get("to/x") == data
    refused(404, gcs.json, "POST", target, b"", sourceGeneration="1")
    refused(412, gcs.json, "POST", target, b"", ifSourceGenerationMatch="1")
    gcsd.config(rewrite_step=0)
    refused(412, gcs.json, "POST", target, b"", ifGenerationMatch="0")
    got = gcs.json("POST", target, {"metadata": {"c": "d"}, "storageClass": "COLDLINE"})
    assert got["resource"]["metadata"] == {"c": "d"}
    assert got["resource"]["storageClass"] == "COLDLINE"


def test_move(gcsd, gcs):
    made = gcs.put("from", b"1")
    gcs.put("to", b"2")
    target = gcs.object("from", "/moveTo/o/to")
    for status in (400, 404, 501):
        gcsd.config(move=status)
        refused(status, gcs.json, "POST", target)
    gcsd.config(move=200)
    refused(412, gcs.json, "POST", target, b"", ifSourceGenerationMatch="1")
    refused(412, gcs.json, "POST", target, b"", ifGenerationMatch="0")
    gcs.json("POST", target, b"", ifSourceGenerationMatch=made["generation"])
    assert gcs.get("to") == b"1"
    refused(404, gcs.stat, "from")
    refused(404, gcs.json, "POST", target)


def test_batch(gcs):
    kept = gcs.put("d/a", b"1")["generation"]
    gcs.put("d/b", b"2")
    asked = ("", "?ifGenerationMatch=1", "?ifGenerationMatch=" + kept)
    names = ("d%2Fb", "d%2Fa", "d%2Fa")
    body = "".join("--x\r\nContent-Type: application/http\r\nContent-ID: <%d>\r\n\r\n"
                   "DELETE /storage/v1/b/test/o/%s%s HTTP/1.1\r\n\r\n\r\n" % (n, name, query)
                   for n, (name, query) in enumerate(zip(names, asked))) + "--x--\r\n"
    _, headers, answer = gcs.call("POST", "/batch/storage/v1", body.encode(),
                                  {"Content-Type": "multipart/mixed; boundary=x"})
    assert headers["content-type"].startswith("multipart/mixed; boundary=")
    statuses = [line.split()[1] for line in answer.decode().splitlines()
                if line.startswith("HTTP/1.1")]
    assert statuses == ["204", "412", "204"] and b"<response-2>" in answer
    assert gcs.list() == ([], [])


def test_bearer_tokens(tmp_path):
    server = gcsctl.Gcsd(tmp_path, "--token", "secret")
    try:
        refused(401, Gcs(server.url, "test").list)
        refused(401, Gcs(server.url, "test", "wrong").list)
        assert Gcs(server.url, "test", "secret").list() == ([], [])
        given = Gcs(server.url, "test").json("POST", "/token")["access_token"]
        assert Gcs(server.url, "test", given).list() == ([], [])
        server.config(expire=True)
        refused(401, Gcs(server.url, "test", given).list)
        given = Gcs(server.url, "test").json("POST", "/token")["access_token"]
        assert Gcs(server.url, "test", given).list() == ([], [])
    finally:
        server.stop()


def test_faults_and_errors(gcsd, gcs):
    gcs.put("k", bytes(1000))
    gcsd.rule("status", method="GET", key="^k$", count=2, status=429, code="rateLimitExceeded")
    assert "rateLimitExceeded" in refused(429, gcs.stat, "k")
    refused(429, gcs.get, "k")
    gcsd.clear()
    gcsd.rule("lie_range", shift=5, count=1)
    _, headers, _ = gcs.call("GET", gcs.object("k"), headers={"Range": "bytes=0-9"}, alt="media")
    assert headers["content-range"] == "bytes 5-14/1000"
    gcsd.clear()
    gcsd.rule("wrong_etag", etag="7", count=1)
    assert gcs.call("GET", gcs.object("k"), alt="media")[1]["x-goog-generation"] == "7"
    gcsd.clear()
    gcsd.rule("short", by=10, count=1)
    assert len(gcs.get("k")) == 990
    gcsd.clear()
    gcsd.rule("drop_reply", method="POST", count=1)
    with pytest.raises((http.client.HTTPException, OSError)):
        gcs.put("new", b"there")
    assert gcs.get("new") == b"there"
    gcsd.config(payer=True)
    refused(400, gcs.stat, "k")
    assert gcs.stat("k", userProject="p")["name"] == "k"
    gcsd.config(payer=False)
    refused(404, Gcs(gcsd.url, "none").list)
    refused(404, gcs.json, "GET", "/storage/v1/nothing")
    assert [c["op"] for c in gcsd.commits("new")] == ["put"]
    gcsd.put("k", b"of another")
    assert gcs.get("k") == b"of another"
