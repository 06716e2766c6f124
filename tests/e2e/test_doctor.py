"""mastfs doctor names what is wrong on the way to a store and in it, and nothing else; and
leaves the bucket as it was.

Each test plants one misconfiguration and asks for the one finding: its check, how it stands,
and words of what was found or of the remedy.  Everything else must be well.
"""
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import azurectl
import front
import lib
from doctoring import doctor, make, root  # noqa: F401
from lib import through, wait, write

NO_TAGS = {"header": "x-amz-tagging"}


# --- all is well ---

@pytest.mark.stores("local", "s3d", "minio", "azurite", "fake_gcs", "gcsd")
def test_all_is_well(store, make):
    """Nothing is found, and the bucket is as before."""
    store.put("a.fits", b"bytes")
    m = make(store)
    found = doctor(m)
    # fake-gcs-server composes whatever the precondition says: that is found out, and told.
    ignores = ["conditional"] if store.name == "fake_gcs" else []
    assert [f["check"] for f in found.wrong()] == ignores
    assert found.status == {"ok": 0, "warning": 3}[found.state]
    checked = {f["check"] for f in found.findings if f["state"] == "ok"}
    assert {"bucket", "list", "put", "get", "range", "conditional", "multipart", "tag",
            "delete", "cache_room"} <= checked | set(ignores)
    if store.name != "local":
        assert {"dns", "tcp", "tls", "endpoint", "clock", "credentials"} <= checked
    assert store.files() == ["a.fits"] and store.uploads() == []
    assert store.get("a.fits") == b"bytes"
    if store.name == "local":
        assert os.listdir(store.root) == ["a.fits"]
    assert not os.path.exists(m.cache)


def test_text_for_people(s3d, make):
    """A line each, and below what is not well a command; the worst is the exit status."""
    m = make(s3d)
    os.rmdir(m.point)
    command = m.command("--no-write")
    command[command.index("mount")] = "doctor"
    done = subprocess.run(command, env=m.env(), text=True, stdout=subprocess.PIPE, timeout=60)
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("problem  mountpoint: "))
    assert m.point in lines[at] and lines[at + 1] == "         mkdir -p " + m.point
    assert "ok       bucket: s3://test/some/prefix is there" in lines
    assert all(line[:9] in ("ok       ", "skipped  ", "warning  ", "problem  ", " " * 9)
               for line in lines)
    assert done.returncode == 1
    os.mkdir(m.point)


def test_wrong_usage(s3d, make):
    done = make(s3d).run("doctor", "--frobnicate")
    assert done.returncode == 2 and "--frobnicate" in done.stderr
    assert "--no-write" in make(s3d).run("doctor", "--help").stdout


def test_no_write_puts_nothing(s3d, make):
    s3d.put("a.fits", b"bytes")
    before = s3d.server.commits()
    found = doctor(make(s3d), "--no-write")
    assert found.wrong() == []
    assert found.named("range")[0]["state"] == "ok"
    assert found.named("put")[0]["state"] == "skipped"
    assert s3d.server.commits() == before
    assert {r["method"] for r in s3d.server.log()} <= {"GET", "HEAD"}


@pytest.mark.parametrize("nth", [1, 2])
def test_a_signal_leaves_nothing(s3d, make, nth):
    """SIGINT while the object is there, of the mount's experiments and of ours: it is
    removed, and its upload aborted."""
    s3d.server.rule("delay", op="part", nth=nth, secs=60)
    m = make(s3d)
    command = m.command()
    command[command.index("mount")] = "doctor"
    process = subprocess.Popen([*command, "--json"], env=m.env(), text=True,
                               stdout=subprocess.PIPE)
    wait("the upload has begun", lambda: sum(
        r["op"] == "begin" for r in s3d.server.log()) == nth and s3d.files() and s3d.uploads())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert any(f["found"] == "interrupted" for f in json.loads(out)["checks"])
    s3d.server.clear()
    assert s3d.files() == [] and s3d.uploads() == []


# --- the way to the store ---

def test_nobody_listens(s3d, make):
    port = lib.free_port()
    found = doctor(make(through(s3d, "http://127.0.0.1:%d" % port)))
    found.only("tcp", "problem", str(port), "curl -v")
    assert {f["check"] for f in found.findings if f["state"] == "skipped"} >= {
        "tls", "endpoint", "credentials", "bucket"}


def test_nobody_answers(s3d, make):
    """Told within ten seconds."""
    way = front.Front(s3d.server.port)
    way.be("silent")
    doctor(make(through(s3d, way.url)), secs=14).only("endpoint", "problem", "does not answer")
    way.stop()


def test_black_hole(s3d, make):
    """Connections are not even refused: the queue of who listens is full."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(deaf.getsockname())
        doctor(make(through(s3d, "http://127.0.0.1:%d" % deaf.getsockname()[1])),
               secs=14).only("tcp", "problem", "curl -v")


def test_nameserver_is_silent(s3d, make):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        address = "127.53.%d.%d" % divmod(os.getpid() % 65000, 256)  # the other trees' tests
        silent.bind((address, 53))
        doctor(make(through(s3d, "https://store.test"), allow_http=True), secs=14,
               before=resolver(address)).only("dns", "problem", "/etc/resolv.conf")


def resolver(address):
    return ("echo nameserver %s >/tmp/resolv.$$; mount --bind /tmp/resolv.$$ /etc/resolv.conf; "
            "rm /tmp/resolv.$$" % address)


def test_name_is_not_found(s3d, make):
    doctor(make(through(s3d, "https://no-such-host.invalid"), allow_http=True),
           before=resolver("127.0.0.1")).only(
        "dns", "problem", "no-such-host.invalid", "getent hosts no-such-host.invalid")


def test_plain_http_far_away(s3d, make):
    doctor(make(through(s3d, "http://192.0.2.1"))).only("endpoint", "problem", "allow_http",
                                                        "endpoint=https://")


def test_proxy_that_is_dead(s3d, make):
    proxy = "http://user:proxysecret@127.0.0.1:%d" % lib.free_port()
    found = doctor(make(s3d), env={"http_proxy": proxy})
    found.only("proxy", "problem", "http_proxy", "no_proxy=127.0.0.1")
    assert "proxysecret" not in found.text


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return front.Certificates(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("mode, words", [
    ("unknown_ca", ("nobody that is trusted", "-o ca_file=")),
    ("self_signed", ("nobody that is trusted", "-o ca_file=")),
    ("wrong_host", ("for another name", "subjectAltName")),
    ("expired", ("has expired", "-dates")), ("good", ())])
def test_tls(s3d, make, certificates, mode, words):
    way = front.Front(s3d.server.port, certificates)
    way.be(mode)
    found = doctor(make(through(s3d, way.url), ca_file=certificates.ca))
    if words:
        found.only("tls", "problem", *words)
        assert way.leaked == b""
    else:
        assert found.wrong() == []
        found = doctor(make(s3d))  # without the option nobody knows this CA
        found.only("tls", "problem", "-o ca_file=")
    way.stop()


@pytest.mark.parametrize("secs, state", [(3600, "problem"), (-120, "warning")])
def test_clock(s3d, make, secs, state):
    s3d.server.config(clock=secs)
    word = "behind the server's" if secs > 0 else "before the server's"
    doctor(make(s3d)).only("clock", state, word, "set-ntp true")


# --- credentials and the bucket, of real servers ---

def test_wrong_secret(minio, make):
    minio.env["AWS_SECRET_ACCESS_KEY"] = "not-the-one"
    found = doctor(make(minio))
    found.only("credentials", "problem", "the secret key is wrong", "aws configure")
    assert "not-the-one" not in found.text


def test_unknown_key(minio, make):
    minio.env["AWS_ACCESS_KEY_ID"] = "who"
    doctor(make(minio)).only("credentials", "problem", "does not know this access key",
                             "AWS_ACCESS_KEY_ID")


def test_no_credentials(minio, make):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del minio.env[name]
    doctor(make(minio)).only("credentials", "problem", "no credentials found", "-o anonymous")


def test_wrong_key_of_azure(azurite, make):
    other = azurectl.KEY[:4] + "0000" + azurectl.KEY[8:]
    azurite.env["AZURE_STORAGE_CONNECTION_STRING"] = azurectl.connection_string(
        azurite.url, other)
    found = doctor(make(azurite))
    found.only("credentials", "problem", "is not accepted", "az storage account keys list")
    assert other not in found.text


def test_expired_token(folder, make):
    issued = os.path.join(folder, "issued")
    write(issued, json.dumps({"access": "ASIAOLD", "secret": "s", "token": "t",
                              "expires": time.time() - 60}).encode() + b"\n")
    store = lib.S3dStore(folder, "--issued", issued)
    store.env.update(AWS_ACCESS_KEY_ID="ASIAOLD", AWS_SECRET_ACCESS_KEY="s",
                     AWS_SESSION_TOKEN="t")
    doctor(make(store)).only("credentials", "problem", "ExpiredToken", "AWS_SESSION_TOKEN")
    store.stop()


@pytest.mark.stores("minio", "azurite", "fake_gcs")
@pytest.mark.parametrize("remedy", [{"s3": "aws s3 mb s3://no-such", "az": "az storage "
                                     "container create --name no-such",
                                     "gs": "gcloud storage buckets create gs://no-such"}])
def test_no_bucket(store, make, remedy):
    scheme = store.source[:2]
    store.source = store.source.replace(store.bucket, "no-such-bucket")
    doctor(make(store)).only("bucket", "problem", 'no-such-bucket"', remedy[scheme] + "-bucket")


def test_no_directory(local, make):
    local.source += "/none"
    doctor(make(local)).only("bucket", "problem", "no such directory", "mkdir -p " + local.root)


def test_region(folder, make):
    store = lib.S3dStore(folder, "--region", "eu-central-1")
    doctor(make(store)).only("region", "warning", "is in eu-central-1, not in us-east-1",
                             "-o region=eu-central-1")
    store.server.rule("status", status=400, code="AuthorizationHeaderMalformed", op="list")
    doctor(make(store)).only("region", "problem", "AuthorizationHeaderMalformed", "-o region=")
    store.stop()


# --- what they allow ---

@pytest.mark.parametrize("op, more, check, state, words", [
    ("list", {}, "list", "problem", ("s3:ListBucket",)),
    ("put", {}, "put", "problem", ("read-only", "s3:PutObject")),
    ("get", {}, "get", "problem", ("s3:GetObject",)),
    ("begin", {}, "multipart", "problem", ("s3:PutObject",)),
    (["put", "begin"], NO_TAGS, "tag", "warning", ("s3:PutObjectTagging",)),
    ("delete", {}, "delete", "problem", ("is left in the bucket", "s3:DeleteObject"))])
def test_denied(s3d, make, op, more, check, state, words):
    s3d.put("a.fits", b"bytes")
    s3d.server.rule("status", status=403, code="AccessDenied", op=op, **more)
    found = doctor(make(s3d))
    if check == "get":  # what cannot be read at all cannot be read in part
        found.findings.remove(found.named("range")[0])
    found.only(check, state, *words)


def test_ranges_ignored(s3d, make):
    s3d.server.rule("ignore_range", op="get")
    doctor(make(s3d)).only("range", "problem", "log_level=debug")


def test_conditions_ignored(s3d, make):
    s3d.server.config(conditions=False)
    doctor(make(s3d)).only("conditional", "warning", "ignores preconditions of writes")


def test_unfinished_uploads(s3d, make):
    for n in range(3):
        s3d.s3.create_multipart_upload(Bucket="test", Key=lib.PREFIX + "u%d" % n)
    assert "3 under way" in doctor(make(s3d)).named("uploads")[0]["found"]
    s3d.server.config(older_uploads=2 * 86400)
    doctor(make(s3d)).only("uploads", "warning", "3 of 3 unfinished uploads",
                           "AbortIncompleteMultipartUpload")


def test_archive(folder, make):
    """The bucket behind it is looked at, without credentials, and not written to."""
    store = lib.S3dStore(folder, "--anonymous")
    store.put("a", b"bytes")
    store.source, store.env = "mast:", {}
    found = doctor(make(store, mast_endpoint=store.url, mast_bucket="test"))
    assert found.wrong() == []
    assert found.named("range")[0]["state"] == "ok"
    assert found.named("put")[0]["found"] == "the source is read only"
    doctor(make(store, mast_endpoint=store.url, mast_bucket="none")).only(
        "bucket", "problem", 'no bucket "none"')
    doctor(make(store, mast_endpoint=store.url, mast_bucket="no/bucket")).only(
        "bucket", "problem", '"no/bucket" is not the name of a bucket', "mastfs help mount")
    store.stop()


def test_public_source(s3d, folder, make):
    """The second source is looked at as well, and what is wrong with it is told as its own."""
    public = os.path.join(folder, "public")
    os.mkdir(public)
    found = doctor(make(s3d, public="file://" + public))
    assert found.wrong() == [] and found.named("public-list")[0]["state"] == "ok"
    os.rmdir(public)
    doctor(make(s3d, public="file://" + public)).only("public-bucket", "problem",
                                                      "no such directory")
