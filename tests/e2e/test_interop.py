"""What mastfs puts into a bucket is there for other programs, and theirs is there for us:
names, sizes, bytes, times and empty directories, each way, a client at a time."""
import json
import os
import subprocess

import pytest

import cloud
import lib
from lib import PREFIX, body, read, same, wait, write

VENV = os.environ.get("MASTFS_VENV", "")
RCLONE = os.environ.get("MASTFS_RCLONE", "")
WHEN = 1600000000123456789
NAME = "a b+%23é.fits"


def ours(m):
    """What is made through the mount, and what each client must find."""
    os.mkdir(m.path("obs"))
    os.mkdir(m.path("empty"))
    write(m.path("obs", NAME), body(70000))
    write(m.path("obs/none"), b"")
    write(m.path("large"), body(18 << 20))
    os.utime(m.path("obs", NAME), ns=(WHEN, WHEN))
    return {"": {"obs": None, "empty": None, "large": 18 << 20},
            "obs/": {NAME: 70000, "none": 0}}


def is_when(text):
    """mtime as the de-facto key has it: seconds with a fraction, or RFC 3339."""
    return text.startswith(("1600000000.123456789", "2020-09-13T12:26:40.123456789"))


class Venv:
    """A client of the virtual environment, asked in one go."""

    def __init__(self, name, store):
        self.name = name
        self.place = {"url": store.url, "bucket": store.bucket, "prefix": PREFIX,
                      "key": store.env.get("AWS_ACCESS_KEY_ID"),
                      "secret": store.env.get("AWS_SECRET_ACCESS_KEY"),
                      "connection": store.env.get("AZURE_STORAGE_CONNECTION_STRING")}

    def run(self, *steps):
        env = {k: v for k, v in os.environ.items() if k in lib.KEPT_ENV}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [os.path.join(VENV, "bin/python"), os.path.join(lib.HERE, "interop.py"), self.name],
            input=json.dumps({"place": self.place, "steps": steps}), env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120 * lib.SLOW)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


def both_ways(name, store, mount):
    if not VENV:
        pytest.skip("no virtual environment with " + name)
    m = mount(store, ttl=0)
    want = ours(m)
    client = Venv(name, store)
    *lists, got, large, stat, _, _, _ = client.run(
        *({"do": "list", "dir": folder} for folder in want),
        {"do": "get", "name": "obs/" + NAME}, {"do": "get", "name": "large"},
        {"do": "stat", "name": "obs/" + NAME},
        {"do": "put", "name": "theirs/" + NAME, "data": "their bytes",
         "mtime": "1500000000.5"},
        {"do": "put", "name": "theirs/none", "data": ""},
        {"do": "put", "name": "theirs/large", "data": "0123456789" * 700000})
    for (folder, names), seen in zip(want.items(), lists):
        assert seen["names"] == names, folder
    same(got["data"].encode("latin-1"), body(70000))
    same(large["data"].encode("latin-1"), body(18 << 20))
    assert stat["size"] == 70000
    if stat["metadata"] is not None:
        assert is_when(stat["metadata"]["mtime"]), stat
    assert read(m.path("theirs", NAME)) == b"their bytes"
    assert read(m.path("theirs/none")) == b""
    same(read(m.path("theirs/large")), b"0123456789" * 700000)
    assert lib.tree(m.path("theirs")) == {NAME: 11, "none": 0, "large": 7000000}
    if stat["metadata"] is not None:  # this client can say when
        assert os.stat(m.path("theirs", NAME)).st_mtime == 1500000000.5


def test_s3fs(minio, mount):
    both_ways("s3fs", minio, mount)


def test_adlfs(azurite, mount):
    both_ways("adlfs", azurite, mount)


def test_gcsfs(fake_gcs, mount):
    both_ways("gcsfs", fake_gcs, mount)


def test_azure_storage_blob(azurite, mount):
    both_ways("azure-storage-blob", azurite, mount)


def test_google_cloud_storage(fake_gcs, mount):
    both_ways("google-cloud-storage", fake_gcs, mount)


def test_boto3(minio, mount):
    m = mount(minio, ttl=0)
    ours(m)
    s3, bucket = minio.s3, minio.bucket
    page = s3.list_objects_v2(Bucket=bucket, Prefix=PREFIX, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == [PREFIX + "empty/", PREFIX + "obs/"]
    got = s3.get_object(Bucket=bucket, Key=PREFIX + "obs/" + NAME)
    same(got["Body"].read(), body(70000))
    assert is_when(got["Metadata"]["mtime"]), got["Metadata"]
    times = {"rclone": "1500000000.5", "s3fs": "1500000000", "datasync": None}
    for name, mtime in times.items():
        s3.put_object(Bucket=bucket, Key=PREFIX + "theirs/" + name + ".fits", Body=b"bytes",
                      Metadata={"mtime": mtime} if mtime else {"file-mtime": "1500000000ns"})
    s3.put_object(Bucket=bucket, Key=PREFIX + "marked/")
    s3.put_object(Bucket=bucket, Key=PREFIX + "marked/in/", Body=b"")
    for name, mtime in times.items():
        with open(m.path("theirs", name + ".fits"), "rb") as f:
            assert f.read() == b"bytes"
            if mtime:
                assert os.fstat(f.fileno()).st_mtime == float(mtime), name
    assert lib.tree(m.path("marked")) == {"in": None}
    os.rmdir(m.path("marked/in"))
    os.rmdir(m.path("marked"))
    wait("the markers go", lambda: not [k for k in minio.keys() if "marked" in k])


def rclone_remote(store):
    """Its configuration, in the environment alone."""
    if store.name == "minio":
        return {"TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": store.url,
                "ACCESS_KEY_ID": store.env["AWS_ACCESS_KEY_ID"],
                "SECRET_ACCESS_KEY": store.env["AWS_SECRET_ACCESS_KEY"]}
    if store.name == "azurite":
        return {"TYPE": "azureblob", "ACCOUNT": cloud.azurectl.ACCOUNT,
                "KEY": cloud.azurectl.KEY, "ENDPOINT": store.url}
    return {"TYPE": "google cloud storage", "ANONYMOUS": "true", "ENDPOINT": store.url
            + "/storage/v1/", "BUCKET_POLICY_ONLY": "true"}


@pytest.mark.stores("minio", "azurite", "fake_gcs")
def test_rclone(store, mount, folder):
    """Copies of a tree compare equal both ways, times included."""
    if not RCLONE:
        pytest.skip("no rclone")
    version = subprocess.check_output([RCLONE, "version"], text=True).split()[1]
    old = tuple(map(int, version.lstrip("v").split(".")[:2])) < (1, 63)
    if old and store.name == "azurite":
        pytest.skip("rclone %s reaches no emulator at an address of our own" % version)
    env = {k: v for k, v in os.environ.items() if k in lib.KEPT_ENV}
    env.update({"RCLONE_CONFIG_T_" + n: v for n, v in rclone_remote(store).items()})
    env["RCLONE_CONFIG"] = "/dev/null"
    remote = "t:%s/%s" % (store.bucket, PREFIX)

    def rclone(*args):
        done = subprocess.run([RCLONE, *args, "--retries", "1"], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=120 * lib.SLOW)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    m = mount(store, ttl=0)
    ours(m)
    seen = {e["Path"]: e for e in json.loads(rclone("lsjson", "-R", remote))}
    want = {"obs": None, "large": 18 << 20, "obs/" + NAME: 70000, "obs/none": 0}
    if not old:  # it knew no markers
        want["empty"] = None
    assert {n: None if e["IsDir"] else e["Size"] for n, e in seen.items()} == want
    assert seen["obs/" + NAME]["ModTime"].startswith("2020-09-13T12:26:40.123456"), seen
    rclone("copy", remote, folder + "/copy")
    assert lib.tree(folder + "/copy").keys() >= {"obs/" + NAME, "obs/none", "large"}
    same(read(folder + "/copy/large"), body(18 << 20))
    os.makedirs(folder + "/theirs/d")
    write(folder + "/theirs/d/f", body(100000, 2))
    write(folder + "/theirs/large", body(9 << 20, 3))
    os.utime(folder + "/theirs/d/f", ns=(WHEN, WHEN))
    rclone("copy", folder + "/theirs", remote + "theirs")
    assert os.stat(m.path("theirs/d/f")).st_mtime_ns // 1000 == WHEN // 1000
    for name in ("d/f", "large"):
        same(read(m.path("theirs", name)), read(folder + "/theirs/" + name))
