"""What others have set on an object is still there when it got another name or another time:
how it is to be read, their metadata, their tags.  What the mount wrote is as it was, too.
"""
import errno
import os
import subprocess

import pytest

import lib
from lib import PREFIX, body, same, wait, write

STORES = pytest.mark.stores("s3d", "minio")
EXPOSURE = "jw02731001001_02101_00001_nrcb1"
THEIRS = {"ContentType": "text/csv; charset=utf-8", "ContentEncoding": "gzip",
          "ContentDisposition": 'attachment; filename="a  b.csv"', "ContentLanguage": "en",
          "CacheControl": "max-age=60,  public",
          "Metadata": {"project": "x", "note": "two  blanks", "file-mtime": "1ns"}}
TAGS = {"team": "a b+c", "keep": "yes"}
WHEN = 1500000000123456789


def put(store, name, data=b"x", tags="team=a%20b%2Bc&keep=yes", **more):
    store.s3.put_object(Bucket=store.bucket, Key=PREFIX + name, Body=data, Tagging=tags,
                        **THEIRS, **more)


def head(store, name):
    return store.s3.head_object(Bucket=store.bucket, Key=PREFIX + name)


def tags(store, name):
    got = store.s3.get_object_tagging(Bucket=store.bucket, Key=PREFIX + name)["TagSet"]
    return {t["Key"]: t["Value"] for t in got}


def is_theirs(store, name, want=None, changed=True):
    """All that was set, and the time by both names that tools have for it."""
    found = head(store, name)
    meta = dict(found.pop("Metadata"))
    for key in THEIRS:
        assert key == "Metadata" or found.get(key) == THEIRS[key], (key, found)
    mtime = meta.pop("mtime", None)
    if changed:
        assert meta.pop("file-mtime") == "%dns" % WHEN
        assert mtime == "%d.%09d" % divmod(WHEN, 10 ** 9)
    meta.pop("mastfs-tag", None)
    meta.pop("file-mtime", None)
    assert meta == {"project": "x", "note": "two  blanks"}
    assert tags(store, name) == (TAGS if want is None else want)


@STORES
def test_of_an_object_that_others_wrote(store, mount):
    put(store, "f", body(100000))
    m = mount(store)
    os.utime(m.path("f"), ns=(0, WHEN))
    is_theirs(store, "f")
    os.mkdir(m.path("d"))
    os.rename(m.path("f"), m.path("d/g"))
    wait("the old name is gone", lambda: store.get("f") is None)
    is_theirs(store, "d/g")
    os.rename(m.path("d"), m.path("e"))
    wait("the old name is gone", lambda: store.get("d/g") is None)
    is_theirs(store, "e/g")
    subprocess.check_call(["cp", "-p", m.path("e/g"), m.path("copy")])
    is_theirs(store, "copy")
    m.remount(wipe=True)
    assert os.stat(m.path("copy")).st_mtime_ns == WHEN
    for name in ("e/g", "copy"):
        same(lib.read(m.path(name)), body(100000))


@STORES
def test_one_tag_of_others(store, mount):
    """Not taken for ours, not even where ours is another by the new name."""
    put(store, "f", tags="team=a")
    m = mount(store)
    os.rename(m.path("f"), m.path(EXPOSURE + "_uncal.fits"))
    is_theirs(store, EXPOSURE + "_uncal.fits", {"team": "a"}, changed=False)


@STORES
def test_of_an_object_without_tags(store, mount):
    """Gets ours with its new name."""
    put(store, "f", tags="")
    m = mount(store)
    os.rename(m.path("f"), m.path("g"))
    is_theirs(store, "g", {"processing_level": "ancillary"}, changed=False)


@STORES
def test_of_an_object_of_ours(store, mount):
    m = mount(store)
    write(m.path("f"), b"x")
    for name, level in (("f", "ancillary"), (EXPOSURE + "_uncal.fits", "raw"),
                        (EXPOSURE + "_cal.fits", "calibrated"), ("g", "ancillary")):
        if name != "f":
            os.rename(m.path("f"), m.path(name))
        os.utime(m.path(name), ns=(0, WHEN))
        found = head(store, name)
        assert found["ContentType"] == "application/octet-stream"
        assert set(found["Metadata"]) == {"mtime", "mastfs-tag"}
        assert not {"CacheControl", "ContentEncoding", "Expires"} & set(found)
        assert tags(store, name) == {"processing_level": level}
        os.rename(m.path(name), m.path("f"))


@pytest.mark.stores("minio")
def test_class(store, mount):
    """As it was, or as the option has it."""
    put(store, "f", StorageClass="REDUCED_REDUNDANCY")
    put(store, "g", StorageClass="REDUCED_REDUNDANCY")
    m = mount(store)
    os.rename(m.path("f"), m.path("h"))
    assert head(store, "h")["StorageClass"] == "REDUCED_REDUNDANCY"
    os.utime(m.path("h"), ns=(0, WHEN))
    assert head(store, "h")["StorageClass"] == "REDUCED_REDUNDANCY"
    m.umount()
    m = mount(store, storage_class="STANDARD")
    os.rename(m.path("g"), m.path("i"))
    assert head(store, "i").get("StorageClass", "STANDARD") == "STANDARD"


def test_place(s3d, mount):
    """Class and encryption; an object that the store encrypts by itself is left to it."""
    kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "BucketKeyEnabled": True}
    put(s3d, "f", StorageClass="GLACIER_IR", **kms)
    put(s3d, "g", ServerSideEncryption="AES256")
    m = mount(s3d)
    for name in "fg":
        os.utime(m.path(name), ns=(0, WHEN))
        os.rename(m.path(name), m.path(name + "2"))
    found = head(s3d, "f2")
    assert found["StorageClass"] == "GLACIER_IR"
    assert {n: found[n] for n in kms} == kms
    assert "ServerSideEncryption" not in head(s3d, "g2")


def test_what_it_asks(s3d, mount):
    """One HEAD more than the copy, and the HEAD of what it made."""
    put(s3d, "f")
    m = mount(s3d)
    os.stat(m.path("f"))
    s3d.server.mark()
    os.utime(m.path("f"), ns=(0, WHEN))
    assert [r["method"] for r in s3d.server.new()] == ["HEAD", "PUT", "HEAD"]
    assert s3d.server.new()[0]["if_match"]


def test_source_that_changes_in_between(s3d, mount):
    """P1: what is sent again is what that version had."""
    put(s3d, "f", b"first")
    put(s3d, "other", b"second")
    m = mount(s3d)
    os.stat(m.path("f"))
    s3d.server.rule("swap", op="head", key="f$", count=1, **{"from": PREFIX + "other"})
    lib.fails(errno.ESTALE, os.rename, m.path("f"), m.path("g"))
    assert (s3d.get("f"), s3d.get("g")) == (b"second", None)
    assert not [c for c in s3d.server.commits() if c["op"] == "copy"]
