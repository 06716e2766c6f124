"""A server that fails and lies: right bytes or an error, never wrong bytes (P1, P8)."""
import base64
import contextlib
import errno
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

import lib
from lib import body, difference, fails, read, same, wait, write

SIZE = (3 << 20) + 17

PASSING = {
    "503": dict(kind="status", status=503, code="SlowDown"),
    "503 with Retry-After": dict(kind="status", status=503, code="SlowDown",
                                 headers={"Retry-After": "1"}),
    "503 with a silly Retry-After": dict(kind="status", status=503, code="SlowDown",
                                         headers={"Retry-After": "abc"}),
    "500": dict(kind="status", status=500),
    "429": dict(kind="status", status=429, code="TooManyRequests"),
    "reset before the answer": dict(kind="reset"),
    "end in the headers' wake": dict(kind="close_at", at=0),
    "end in mid-body": dict(kind="close_at", at=100000),
    "reset in mid-body": dict(kind="close_at", at=100000, rst=True),
    "stall": dict(kind="stall", at=50000, secs=2),
    "delay": dict(kind="delay", secs=1),
    "short by one": dict(kind="short", by=1),
    "short by much": dict(kind="short", by=100000),
    "another range": dict(kind="lie_range", shift=4096),
    "a range of nonsense": dict(kind="lie_range", content_range="bytes 0-9/10"),
    "a range that is no range": dict(kind="lie_range", content_range="bytes */*"),
    "a huge range": dict(kind="lie_range",
                         content_range="bytes 0-18446744073709551615/18446744073709551616"),
    "the whole object": dict(kind="ignore_range"),
    "an error in a 200": dict(kind="error_200"),
}


@pytest.mark.parametrize("name", PASSING)
def test_read_gets_over(s3d, mount, name):
    """R1..R4: two of them, then an honest answer."""
    s3d.put("f", body(SIZE))
    m = mount(s3d)
    s3d.server.rule(method="GET", key="(^|/)f$", count=2, **PASSING[name])
    same(read(m.path("f")), body(SIZE))
    s3d.server.clear()
    m.remount()  # and nothing false was kept
    same(read(m.path("f")), body(SIZE))


@pytest.mark.parametrize("name", sorted(set(PASSING) - {"stall", "delay"}) + ["another ETag"])
def test_read_that_never_gets_over(s3d, mount, name):
    """P8: an error by the deadline, or right bytes; the rest of the mount goes on."""
    act = PASSING.get(name) or dict(kind="wrong_etag")
    s3d.put("f", body(SIZE))
    s3d.put("g", body(1000))
    m = mount(s3d, read_timeout="2s")
    s3d.server.rule(method="GET", key="(^|/)f$", **act)
    start = time.monotonic()
    try:
        got = read(m.path("f"))
    except OSError as err:
        assert err.errno in (errno.EIO, errno.ETIMEDOUT, errno.ESTALE), err
    else:
        same(got, body(SIZE))
    assert time.monotonic() - start < 30 * lib.SLOW
    same(read(m.path("g")), body(1000))
    s3d.server.clear()
    same(read(m.path("f")), body(SIZE))


def test_server_that_never_answers(s3d, mount):
    """P8: nothing hangs past its deadline."""
    s3d.put("f", body(SIZE))
    m = mount(s3d, read_timeout="2s")
    s3d.server.rule("delay", method="GET", key="(^|/)f$", secs=120)
    start = time.monotonic()
    err = None
    try:
        read(m.path("f"))
    except OSError as e:
        err = e
    assert err and err.errno in (errno.EIO, errno.ETIMEDOUT), err
    assert time.monotonic() - start < 20 * lib.SLOW
    m.kill()


def test_read_waits_for_one_deadline(s3d, mount):
    """P8: when reading ahead has failed, the kernel asks for the page alone as well."""
    s3d.put("f", body(SIZE))
    m = mount(s3d, read_timeout="2s", passthrough="no")
    s3d.server.rule("status", op="get", status=500)
    fd = os.open(m.path("f"), os.O_RDONLY)
    fails(errno.EIO, os.pread, fd, 4096, 0)
    assert m.log().count("gave up") == 1
    s3d.server.clear()
    same(os.pread(fd, 4096, 0), body(SIZE)[:4096])
    os.close(fd)


def test_failed_reads_fail_nothing_between(s3d, mount):
    """P8: what no read has asked for in vain is tried."""
    s3d.put("f", body(12 << 20))
    m = mount(s3d, read_timeout="2s", passthrough="no")
    s3d.server.rule("delay", op="get", secs=120)
    fd = os.open(m.path("f"), os.O_RDONLY | os.O_DIRECT)
    with ThreadPoolExecutor(2) as pool:
        errs = [pool.submit(os.pread, fd, 4096, off).exception for off in (0, 10 << 20)]
        assert all(isinstance(err(), OSError) for err in errs)
    s3d.server.clear()
    same(os.pread(fd, 4096, 5 << 20), body(12 << 20)[5 << 20:][:4096])
    os.close(fd)
    m.kill()


def test_name_waits_for_no_reader(s3d, mount):
    """P8: one deadline, from when it is asked, though every reader waits for its own."""
    s3d.put("f", body(20 << 20))
    m = mount(s3d, read_timeout="4s", passthrough="no")
    fd = os.open(m.path("f"), os.O_RDONLY | os.O_DIRECT)
    s3d.server.rule("delay", secs=120)
    with ThreadPoolExecutor(80) as pool:
        reads = [pool.submit(os.pread, fd, 4096, n << 18) for n in range(80)]
        time.sleep(1)
        start = time.monotonic()
        with pytest.raises(OSError):
            os.stat(m.path("unknown"))
        took = time.monotonic() - start
        for r in reads:
            assert isinstance(r.exception(), OSError)
    os.close(fd)
    m.kill()
    assert took < 5.5 * lib.SLOW, took


def test_slow_name_holds_up_no_other(s3d, mount):
    """P8: the lookups of one directory are under way at the same time."""
    for n in range(8):
        s3d.put("f%d.fits" % n, b"1")
    m = mount(s3d)
    s3d.server.rule("delay", key=r"(^|/)f\d.fits$", secs=1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(os.stat, [m.path("f%d.fits" % n) for n in range(8)]))

    def asked():
        return [r for r in s3d.server.log() if r["act"]]
    assert len(asked()) == 8
    wait("the server has noted their ends", lambda: all(r["t1"] for r in asked()))
    assert max(r["t0"] for r in asked()) < min(r["t1"] for r in asked())


def test_read_ends_when_interrupted(s3d, mount):
    """L4: Ctrl-C."""
    s3d.put("f", body(SIZE))
    m = mount(s3d)
    s3d.server.rule("delay", method="GET", key="(^|/)f$", secs=60)
    s3d.server.mark()
    reader = subprocess.Popen(["cat", m.path("f")], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait("cat to be in its read", lambda: delayed(s3d))
    reader.send_signal(signal.SIGINT)
    assert reader.wait(20 * lib.SLOW) == -signal.SIGINT
    assert not any(r["t1"] for r in delayed(s3d)), "it waited for the answer"
    m.kill()


def delayed(s3d):
    """What was asked and is not answered yet; t1 is when it is."""
    return [r for r in s3d.server.new("GET") if r["act"] == "delay"]


@pytest.mark.parametrize("op", ["list", "put", "begin", "part", "finish", "delete", "head"])
@pytest.mark.parametrize("kind", ["status", "reset", "drop_reply"])
def test_mount_while_the_store_is_busy(s3d, mount, op, kind):
    """P8: what passes ends no mount, and what it found out stands."""
    more = {"status": 503, "code": "SlowDown"} if kind == "status" else {}
    s3d.server.rule(kind, op=op, count=2, **more)
    m = mount(s3d)
    write(m.path("f"), b"x")
    m.umount()
    assert s3d.files() == ["f"]
    if (kind, op) != ("drop_reply", "begin"):  # nobody knows the id
        assert s3d.uploads() == []
    assert "error" not in [line.split(": ")[1] for line in m.log().splitlines()]
    assert "ignores" not in m.log()


def test_what_killed_probes_left_is_removed(s3d, mount):
    """After a day, by the next mount, and nothing else; no request is made to look for it."""
    old, new = ".mastfs-probe-0123456789abcdef", ".mastfs-probe-fedcba9876543210"
    m = mount(s3d)
    m.umount()
    usual = len(s3d.server.log())
    for name in (old, old + "-moved", old + "/file", old + "0", "file"):
        s3d.server.put(lib.PREFIX + name, b"mastfs", age=90000)
    s3d.server.put(lib.PREFIX + new, b"mastfs", age=80000)
    m.mount()
    m.umount()
    assert s3d.files() == sorted([new, old + "/file", old + "0", "file"])
    asked = len(s3d.server.log()) - usual
    assert asked == usual + 4  # two listings and two deletions


def test_refused_object_is_eacces(s3d, mount):
    """R11: that file only, and it is not gone."""
    for name in ("d/secret", "d/open"):
        s3d.put(name, body(1000))
    m = mount(s3d)
    s3d.server.rule("status", key="secret$", status=403, code="AccessDenied")
    fails(errno.EACCES, read, m.path("d/secret"))
    assert sorted(os.listdir(m.path("d"))) == ["open", "secret"]
    same(read(m.path("d/open")), body(1000))
    s3d.server.clear()
    same(read(m.path("d/secret")), body(1000))


LOST_IDENTITY = {"ExpiredToken": 400, "RequestTimeTooSkewed": 403, "InvalidAccessKeyId": 403}


@pytest.mark.parametrize("code", LOST_IDENTITY)
def test_removal_outlives_lost_credentials(s3d, mount, code):
    """P3: rm was acknowledged, and the store has not refused it: it did not know us."""
    s3d.put("f", body(1000))
    m = mount(s3d)
    lost = dict(status=LOST_IDENTITY[code], code=code)
    s3d.server.rule("status", method="GET", key="(^|/)f$", **lost)
    fails(errno.EACCES, read, m.path("f"))
    s3d.server.rule("status", method="DELETE", **lost)
    s3d.server.mark()
    os.unlink(m.path("f"))
    seen = []
    wait("the DELETE", lambda: seen.extend(r for r in s3d.server.new()
                                           if r["method"] == "DELETE") or seen)
    s3d.server.clear()
    m.remount()
    assert os.listdir(m.point) == [] and s3d.files() == []


PROXY_404 = dict(text="HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
                 "Content-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n")


def test_404_of_a_proxy_is_not_the_stores(s3d, mount):
    """P8, P10, P3: nobody is behind it for a while, and nothing is gone."""
    for name in ("read", "saved", "removed"):
        s3d.put(name, body(1000))
    m = mount(s3d)
    s3d.server.rule("raw", method="GET", key="(^|/)read$", count=2, **PROXY_404)
    s3d.server.rule("raw", method="PUT", key="(^|/)saved$", count=2, **PROXY_404)
    s3d.server.rule("raw", method="DELETE", key="(^|/)removed$", count=2, **PROXY_404)
    same(read(m.path("read")), body(1000))
    write(m.path("saved"), b"new", "r+b")
    same(s3d.get("saved"), b"new" + body(1000)[3:])
    os.unlink(m.path("removed"))
    m.umount()
    assert s3d.files() == ["read", "saved"]


@pytest.mark.parametrize("act", [dict(kind="status", status=500), dict(kind="error_200"),
                                 dict(kind="close_at", at=300), dict(kind="short", by=200),
                                 dict(kind="reset"), dict(kind="status", status=503)],
                         ids=lambda a: a["kind"])
def test_listing_is_whole_or_an_error(s3d, mount, act):
    """R8, P10."""
    names = ["f%03d" % n for n in range(50)]
    for name in names:
        s3d.put("d/" + name, b"")
    m = mount(s3d, read_timeout="2s", ttl=0)
    s3d.server.rule(query="list-type", count=2, **act)
    assert sorted(os.listdir(m.path("d"))) == names
    s3d.server.clear()
    s3d.server.rule(query="list-type", **act)
    try:
        got = sorted(os.listdir(m.path("d")))
    except OSError as err:
        assert err.errno in (errno.EIO, errno.ETIMEDOUT), err
    else:
        assert got == names
    s3d.server.clear()
    assert sorted(os.listdir(m.path("d"))) == names


TOKENS = [base64.urlsafe_b64encode(b"%c" % c).decode() for c in b"abcdefg"]


def more(token):
    return ("<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>"
            % token)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_pages_that_go_round_come_to_an_end(s3d, mount, length):
    """R8: the same few pages for ever are an error, after few requests."""
    for n in range(20):
        s3d.put("d/f%03d" % n, b"")
    m = mount(s3d, ttl=0)
    ring = dict(zip(TOKENS[:length], TOKENS[1:length] + TOKENS[:1]))
    for token, following in ring.items():
        s3d.server.rule("sub", op="list", key="/d/$", query="token=" + quote(token),
                        find="<IsTruncated>.*?</IsTruncated>", put=more(following))
    s3d.server.rule("sub", op="list", key="/d/$", find="<IsTruncated>.*?</IsTruncated>",
                    put=more(TOKENS[0]))
    s3d.server.mark()
    fails(errno.EIO, os.listdir, m.path("d"))
    assert len([r for r in s3d.server.new() if r["op"] == "list"]) < 40


@pytest.mark.parametrize("size", [100000, 20 << 20])
@pytest.mark.parametrize("name", ["503", "500", "reset before the answer",
                                  "503 with Retry-After"])
def test_upload_gets_over(s3d, mount, name, size):
    m = mount(s3d)
    s3d.server.rule(method="PUT", count=2, **PASSING[name])
    write(m.path("f"), body(size))
    same(s3d.get("f"), body(size))
    assert s3d.uploads() == []


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("size", [100000, 20 << 20])
def test_commit_whose_answer_was_lost(s3d, mount, size, old):
    """The trap of a replayed condition: our own commit must not look like a conflict."""
    if old:
        s3d.put("f", b"old")
    m = mount(s3d)
    if old:
        assert read(m.path("f")) == b"old"
    if size < 1 << 20:
        s3d.server.rule("drop_reply", method="PUT", count=1)
    else:
        s3d.server.rule("drop_reply", method="POST", query="uploadId", count=1)
    write(m.path("f"), body(size))
    same(s3d.get("f"), body(size))
    assert s3d.uploads() == []
    assert len([r for r in s3d.server.log() if r["method"] == "POST" and "uploadId" in
                r["query"] and r["key"].endswith("/f")]) == (size > 1 << 20), "two Completes"
    write(m.path("f"), b"next")
    assert s3d.get("f") == b"next"


def test_complete_that_fails_inside_a_200(s3d, mount):
    """R7: 200 with an error document is a failure; the second one counts."""
    m = mount(s3d)
    s3d.server.rule("error_200", method="POST", query="uploadId", count=1)
    write(m.path("f"), body(20 << 20))
    same(s3d.get("f"), body(20 << 20))
    assert s3d.uploads() == []


@pytest.mark.short
def test_upload_that_the_store_has_lost(s3d, mount):
    """NoSuchUpload is no success where the object is not there: all is sent anew."""
    m = mount(s3d)
    s3d.server.rule("status", method="POST", query="uploadId", status=404,
                    code="NoSuchUpload", count=1)
    with contextlib.suppress(OSError):  # the next attempt is not waited for
        write(m.path("f"), body(20 << 20))
    m.umount()
    same(s3d.get("f"), body(20 << 20))
    assert s3d.uploads() == []


def test_what_is_uploaded_is_forgotten(s3d, mount):
    """The next mount has nothing to do and nothing to ask about it."""
    m = mount(s3d, upload="background")
    for n, size in enumerate((5, 20 << 20)):
        write(m.path("f%d" % n), body(size))
    m.umount()
    s3d.server.mark()
    m.remount()
    m.umount()
    assert [r for r in s3d.server.new() if "/f" in r["key"]] == []


def test_upload_that_is_refused(s3d, mount):
    """D6: close reports it, the old object stays, the staged bytes stay and go up later."""
    s3d.put("f", b"old")
    m = mount(s3d)
    s3d.server.rule("status", method="PUT", key="(^|/)f$", status=403, code="AccessDenied")
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(5000))
    fails(errno.EACCES, f.close)
    assert s3d.get("f") == b"old"
    got = read(m.path("f"))
    assert got in (b"old", body(5000)), "neither the old nor the new: %d bytes" % len(got)
    s3d.server.clear()
    write(m.path("f"), body(6000))
    same(s3d.get("f"), body(6000))


def test_connection_closed_after_each_answer(s3d, mount):
    """F13: keep-alive that is not kept."""
    for n in range(20):
        s3d.put("f%d" % n, body(5000, n))
    m = mount(s3d)
    s3d.server.rule("close_at", at=1 << 40)
    for n in range(20):
        same(read(m.path("f%d" % n)), body(5000, n))
    write(m.path("new"), body(5000))
    s3d.server.clear()
    same(s3d.get("new"), body(5000))


def test_store_that_ignores_conditions(s3d, mount):
    """Probed at mount, and said there: it works, without the promise that needs them."""
    s3d.server.call("POST", "config", '{"conditions": false}')
    m = mount(s3d)
    assert m.log().count("ignores preconditions of writes") == 1
    write(m.path("f"), b"1")
    write(m.path("f"), b"22")
    assert s3d.get("f") == b"22"


@pytest.mark.parametrize("size", [5, 20 << 20])
@pytest.mark.parametrize("there", [True, False])
def test_conflict_is_seen_without_conditions(s3d, mount, size, there):
    """P5, by a look just before the upload: ESTALE, the other's object stays, and so do
    our bytes."""
    s3d.server.call("POST", "config", '{"conditions": false}')
    if there:
        s3d.put("f", b"old")
    m = mount(s3d)
    f = open(m.path("f"), "wb", buffering=0)
    f.write(body(size))
    s3d.put("f", b"theirs")
    fails(errno.ESTALE, f.close)
    assert s3d.get("f") == b"theirs"
    same(read(m.path("f")), body(size))
    assert not s3d.uploads()


def test_store_with_conditions_is_not_warned_of(s3d, mount):
    assert "preconditions" not in mount(s3d).log()


def test_bucket_that_takes_no_writes(s3d, mount):
    """R12: found at open, not at close."""
    s3d.put("f", body(1000))
    s3d.server.rule("status", method="PUT", status=403, code="AccessDenied")
    m = mount(s3d)
    same(read(m.path("f")), body(1000))
    with pytest.raises(OSError) as info:
        open(m.path("new"), "wb")
    assert info.value.errno in (errno.EROFS, errno.EACCES), info.value


def test_difference_is_told():
    """The tests' own tool."""
    assert "first difference at 3" in difference(b"abcd", b"abce")
    assert difference(b"a", b"a") == ""
