"""Each store that mastfs speaks to does the same: the application's calls, whatever others do
to the bucket meanwhile, and one line where it cannot be reached."""
import base64
import errno
import json
import os

import pytest

import cloud
import lib
from lib import PREFIX, body, fails, pread, read, same, wait, write
from test_bad_input import refuse
from test_replay import OWN, SHARED, play
from test_versions import old_or_stale

CLOUD = ("azurite", "fake_gcs", "gcsd")
pytestmark = pytest.mark.stores("minio", *CLOUD)


@pytest.mark.stores("azurite", "fake_gcs")
def test_application_twice_in_a_row(store, mount):
    """Afterwards the bucket holds what the application has left, and nothing else (P6)."""
    m = mount(store)
    play(OWN, m.point)
    want = json.loads(play(OWN, m.point, "--keep").splitlines()[-1])
    m.umount()
    assert store.files() == sorted(want)
    for name, size in want.items():
        assert len(store.get(name)) == size, name
    assert store.uploads() == []
    assert not [k for k in store.keys() if not k.startswith(PREFIX)]
    m.remount(wipe=True)
    assert {n: s for n, s in lib.tree(m.point).items() if s is not None} == want


@pytest.mark.skipif(not os.path.exists(SHARED), reason="no ../shared")
@pytest.mark.stores("azurite", "fake_gcs")
def test_shared_replay_twice_in_a_row(store, mount):
    m = mount(store)
    for _ in range(2):
        play(SHARED, m.point)
    m.umount()
    assert store.files() in (["dotnet_new.fits"], []), store.files()
    assert store.uploads() == []


@pytest.mark.short
def test_files_live_and_die(store, mount):
    """What was written is there for another mount with nothing cached; what went is gone."""
    m = mount(store)
    data = {"plain": b"", "a b+%23é#?.fits": body(70000, 1), "d/e/large": body(21 << 20, 2)}
    os.makedirs(m.path("d/e"))
    os.mkdir(m.path("empty"))
    for name, content in data.items():
        write(m.path(name), content)
        assert store.get(name) == content
    os.utime(m.path("plain"), ns=(0, 1600000000123456789))
    os.rename(m.path("plain"), m.path("d/renamed"))
    write(m.path("d/over"), b"old" * 1000)
    write(m.path("d/over"), b"new")
    with open(m.path("d/over"), "ab") as f:
        f.write(b"er")
    m.remount(wipe=True)
    assert lib.tree(m.point) == {
        "a b+%23é#?.fits": 70000, "d": None, "d/e": None, "d/e/large": 21 << 20,
        "d/renamed": 0, "d/over": 5, "empty": None}
    same(read(m.path("d/e/large")), data["d/e/large"])
    same(read(m.path("a b+%23é#?.fits")), data["a b+%23é#?.fits"])
    assert read(m.path("d/over")) == b"newer"
    if store.name != "minio":  # a listing of S3 knows no metadata, and ls must not cost HEADs
        assert os.stat(m.path("d/renamed")).st_mtime_ns == 1600000000123456789
    fails(errno.ENOTEMPTY, os.rmdir, m.path("d"))
    os.rename(m.path("d/e/large"), m.path("d/over"))
    for name in ("d/renamed", "d/over", "a b+%23é#?.fits"):
        os.unlink(m.path(name))
    for name in ("d/e", "d", "empty"):
        os.rmdir(m.path(name))
    m.umount()
    assert store.keys() == [] and store.uploads() == []


def test_replaced_by_another(store, mount):
    """P1: an open file stays what it was, or says ESTALE; the next open has the new one."""
    old, new = body(3 << 20, 1), body(3 << 20, 2)
    store.put("f", old)
    m = mount(store, ttl=0)
    with open(m.path("f"), "rb", buffering=0) as f:
        assert f.read(4096) == old[:4096]
        store.put("f", new)
        old_or_stale(lambda: pread(f.fileno(), 3 << 20, 0), old)
        same(read(m.path("f")), new)
    store.delete("f")
    wait("the name is gone", lambda: not os.path.exists(m.path("f")))


@pytest.mark.parametrize("size", [1000, 17 << 20])
def test_conflicts_are_told(store, mount, size):
    """P4, P5: whoever was first stays, whole; the other is told."""
    store.put("f", body(size, 1))
    m = mount(store)
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(b"MINE" * 100)
    store.put("f", b"theirs")
    fails(errno.ESTALE, f.close)
    assert store.get("f") == b"theirs"
    f = open(m.path("new"), "wb", buffering=0)
    f.write(body(size, 3))
    store.put("new", b"theirs")
    with pytest.raises(OSError) as info:
        f.close()
    assert info.value.errno in (errno.ESTALE, errno.EEXIST), info.value
    assert store.get("new") == b"theirs"
    m.kill()


def test_bucket_missing(store, mount):
    store.source = store.source.replace(store.bucket, "no-such-bucket")
    refuse(mount(store, start=False), "no-such-bucket")


def test_unreachable(store, mount):
    port = str(lib.free_port())
    old = store.url.split(":")[2].split("/")[0]
    store.env = {n: v.replace(":" + old, ":" + port) for n, v in store.env.items()}
    refuse(mount(store, start=False, require_backend="yes"), port)


CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


@pytest.mark.parametrize("value", [
    "nonsense", "AccountName=a;AccountKey", "AccountName=devstoreaccount1;AccountKey=%%%",
    "AccountName=devstoreaccount1;AccountKey=c2VjcmV0;BlobEndpoint=ftp://h", ";;=;"])
def test_azure_malformed_connection_string(azurite, mount, value):
    azurite.env[CONNECTION] = value
    refuse(mount(azurite, start=False), CONNECTION)


def test_azure_wrong_key(azurite, mount):
    wrong = "d3JvbmctY2FuYXJ5LWtleQ=="
    azurite.env[CONNECTION] = cloud.azurectl.connection_string(azurite.url, wrong)
    line = refuse(mount(azurite, start=False), CONNECTION)
    assert wrong not in line


def test_azure_sas(azurite, mount):
    """The token alone lets us in while it lasts; one that is over is named as such."""
    def env(start, end):
        return {"AZURE_STORAGE_SAS_TOKEN": azurite.client.sas(start, end),
                "AZURE_STORAGE_BLOB_ENDPOINT": azurite.url}
    azurite.env = env("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")
    m = mount(azurite)
    write(m.path("f"), b"by SAS")
    assert azurite.get("f") == b"by SAS" and read(m.path("f")) == b"by SAS"
    assert "sig=" not in m.log().replace("sig=[", "")
    m.umount()
    azurite.env = env("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
    line = refuse(mount(azurite, start=False), "AZURE_STORAGE_SAS_TOKEN")
    assert "sig=" not in line


def leave_blocks(azurite, name, id_bytes):
    """As a program does that died within an upload: blocks, and no list of them."""
    for n in range(3):
        block = base64.b64encode(b"%0*d" % (id_bytes, n)).decode()
        azurite.client.call("PUT", "/" + PREFIX + name, b"theirs", comp="block", blockid=block)


def blocks_left(azurite, name):
    return azurite.client.call("GET", "/" + PREFIX + name, comp="blocklist",
                               blocklisttype="uncommitted")[2].count(b"<Block>")


@pytest.mark.parametrize("id_bytes", [9, 36, 48])
@pytest.mark.parametrize("old", [None, body(3000, 1)], ids=["new", "over"])
def test_azure_blocks_that_another_program_left(azurite, mount, old, id_bytes):
    """All ids of a blob have one length, says the store: ours are as theirs, then.  P4: what
    others see is the old blob until it is the new one.  AzCopy's are as ours."""
    said = "blocks with ids of %d bytes" % id_bytes
    if old:
        azurite.put("f", old)
    leave_blocks(azurite, "f", id_bytes)
    m = mount(azurite)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(41 << 20, 2))
        wait("parts of ours", lambda: blocks_left(azurite, "f") > 3)
        assert azurite.files() == (["f"] if old else []) and azurite.get("f") == old
    same(azurite.get("f"), body(41 << 20, 2))
    assert blocks_left(azurite, "f") == 0 and azurite.uploads() == []
    with open(m.path("f"), "r+b", buffering=0) as f:
        f.write(b"MINE")
    same(azurite.get("f"), b"MINE" + body(41 << 20, 2)[4:])
    assert m.log().count(said) == (id_bytes != 36)
    assert ("InvalidBlobOrBlock" in m.log()) == (id_bytes != 36)


def test_azure_blocks_of_another_program_are_no_excuse(azurite, mount):
    """P5: who changed the blob meanwhile was first."""
    azurite.put("f", body(3000, 1))
    m = mount(azurite)
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(body(17 << 20, 2))
    azurite.put("f", b"theirs")
    leave_blocks(azurite, "f", 20)
    fails(errno.ESTALE, f.close)
    assert azurite.get("f") == b"theirs"
    m.kill()


def test_azure_ids_that_are_too_short_for_ours(azurite, mount):
    """Then it goes up in one piece, which is whole or not at all as well (P2, P4, P5)."""
    azurite.put("f", body(3000, 1))
    leave_blocks(azurite, "f", 4)
    m = mount(azurite)
    with open(m.path("f"), "r+b", buffering=0) as f:
        f.write(body(41 << 20, 2))
        assert azurite.get("f") == body(3000, 1)
    same(azurite.get("f"), body(41 << 20, 2))
    assert m.log().count("takes no blocks from us") == 1
    f = open(m.path("f"), "r+b", buffering=0)
    f.write(b"MINE")
    azurite.put("f", b"theirs")
    leave_blocks(azurite, "f", 4)
    fails(errno.ESTALE, f.close)
    assert azurite.get("f") == b"theirs"
    m.kill()


def test_azure_blob_that_is_not_made_of_blocks(azurite, mount):
    azurite.client.put(PREFIX + "f", **{"x-ms-blob-type": "AppendBlob"})
    m = mount(azurite)
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(17 << 20, 2))
    same(azurite.get("f"), body(17 << 20, 2))
    assert m.log().count("takes no blocks from us") == 1


@pytest.fixture
def guarded(folder):
    """gcsd, which wants tokens and gives them; with credentials as gcloud leaves them."""
    store = cloud.GcsdStore(folder, "--token", "first")
    path = os.path.join(folder, "adc.json")
    data = {"type": "authorized_user", "client_id": "id", "client_secret": "canary",
            "refresh_token": "canary", "token_uri": store.url + "/token"}
    write(path, json.dumps(data).encode())
    store.env = {"GOOGLE_APPLICATION_CREDENTIALS": path}
    yield store
    store.stop()


def test_google_tokens_end_at_any_time(guarded, mount):
    """One 401, one new token, and the call goes on: a read, a write, parts of an upload."""
    m = mount(guarded, endpoint=guarded.url, ttl=0)
    write(m.path("f"), body(3 << 20))
    guarded.server.config(expire=True)
    with open(m.path("large"), "wb", buffering=0) as f:
        for n in range(3):
            f.write(body(8 << 20, n))
            guarded.server.config(expire=True)
    guarded.server.config(expire=True)
    m.remount(wipe=True)
    guarded.server.config(expire=True)
    same(read(m.path("large")), b"".join(body(8 << 20, n) for n in range(3)))
    same(read(m.path("f")), body(3 << 20))
    refused = [r for r in guarded.server.log() if r["status"] == 401]
    assert refused and not [r for r in refused if r["key"] == "token"]
    assert "canary" not in m.log() and "issued-" not in m.log()


@pytest.mark.parametrize("text", [b"", b"not a key", b"{}", b'{"type": "nobody"}', b"[1]"])
def test_google_key_file_that_is_none(gcsd, mount, folder, text):
    path = os.path.join(folder, "bad-key.json")
    write(path, text)
    gcsd.env = {"GOOGLE_APPLICATION_CREDENTIALS": path}
    m = mount(gcsd, start=False, endpoint=gcsd.url)
    refuse(m, "bad-key.json")


def test_google_key_file_missing(gcsd, mount):
    gcsd.env = {"GOOGLE_APPLICATION_CREDENTIALS": "/none/key.json"}
    refuse(mount(gcsd, start=False, endpoint=gcsd.url), "/none/key.json")


def test_gcs_moves_are_not_to_be_had(gcsd, mount):
    """Whatever a bucket says of moveTo, a rename is one; here by copy and delete."""
    for n, status in enumerate((400, 404, 501)):
        gcsd.server.config(move=status)
        m = mount(gcsd)
        write(m.path("from%d" % n), b"%d" % n)
        m.remount()
        os.rename(m.path("from%d" % n), m.path("to%d" % n))
        m.umount()
        assert gcsd.get("to%d" % n) == b"%d" % n and gcsd.get("from%d" % n) is None
    assert gcsd.files() == ["to0", "to1", "to2"]


def test_gcs_pages_and_steps(gcsd, mount):
    """Pages of one entry with empty ones between, copies in three steps."""
    gcsd.server.config(page=1, empty_pages=True, rewrite_step=400, move=404)
    for n in range(5):
        gcsd.put("d/%d" % n, b"%d" % n * 1000)
    m = mount(gcsd)
    assert sorted(os.listdir(m.path("d"))) == list("01234")
    os.rename(m.path("d/3"), m.path("e"))
    m.umount()
    assert gcsd.get("e") == b"3" * 1000 and gcsd.get("d/3") is None


@pytest.mark.parametrize("rule", [
    {"kind": "short", "by": 100}, {"kind": "lie_range", "shift": 7}, {"kind": "wrong_etag"},
    {"kind": "status", "status": 503}, {"kind": "status", "status": 429},
    {"kind": "close_at", "at": 50000}, {"kind": "ignore_range"}])
def test_gcs_answers_that_are_wrong(gcsd, mount, rule):
    """P1, P8: they are asked for again; another generation is another version."""
    gcsd.put("f", body(3 << 20))
    m = mount(gcsd)
    stale = rule["kind"] == "wrong_etag"
    # Of two answers both could be to what is only fetched ahead.
    gcsd.server.rule(method="GET", key="(^|/)f$", query="alt=media", count=0 if stale else 2,
                     **rule)
    if stale:
        fails(errno.ESTALE, read, m.path("f"))
    else:
        same(read(m.path("f")), body(3 << 20))


def test_gcs_answers_that_are_lost(gcsd, mount):
    """P5: what was done though nobody was told so is ours, and no conflict."""
    m = mount(gcsd)
    gcsd.server.rule("drop_reply", method="POST", query="upload|compose", count=3)
    write(m.path("small"), b"one")
    write(m.path("large"), body(18 << 20))
    gcsd.server.clear()
    gcsd.server.rule("drop_reply", method="POST", key="large", query="ifGenerationMatch",
                     count=1)
    write(m.path("large"), body(18 << 20, 2))
    m.umount()
    assert gcsd.get("small") == b"one" and gcsd.files() == ["large", "small"]
    same(gcsd.get("large"), body(18 << 20, 2))


@pytest.mark.parametrize("size", [100000, 40 << 20])
def test_minio_keeps_the_checksum_of_the_whole(minio, mount, size):
    """P2: that it takes CRC64NVME was found out at mount, and it has one of each object."""
    m = mount(minio)
    write(m.path("f"), body(size))
    head = minio.s3.head_object(Bucket=minio.bucket, Key=lib.PREFIX + "f",
                                ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
    assert head["x-amz-checksum-crc64nvme"], head
    assert head["x-amz-checksum-type"] == "FULL_OBJECT", head
    assert minio.keys() == [lib.PREFIX + "f"], "the probe leaves nothing"
    assert minio.uploads() == []
