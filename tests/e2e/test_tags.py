"""What an upload says of itself: processing_level by the form of the name, storage class.

A store that refuses the tag costs a warning, one that refuses the class fails the upload.
"""
import errno
import json
import os

import pytest

import lib
from lib import PREFIX, fails, read, same, wait, write

EXPOSURE = "jw02731001001_02101_00001_nrcb1"
COMBINED = "jw02733-o001_t001_nircam_clear-f200w"
LEVELS = [
    (EXPOSURE + "_uncal.fits", "raw"),
    (EXPOSURE + "_rate.fits", "calibrated"),
    (EXPOSURE + "_cal.fits", "calibrated"),
    (EXPOSURE + "_i2d.fits", "calibrated"),  # the same suffix, another form
    (COMBINED + "_i2d.fits", "combined"),
    (COMBINED + "_cat.ecsv", "combined"),
    (EXPOSURE + "_cal_thumb.jpg", "ancillary"),
    ("jw01234-o001_20240101t000000_image3_00001_asn.json", "ancillary"),
    ("pipeline.log", "ancillary"),
]
LARGE = 40 << 20  # an upload in parts


EVERYWHERE = pytest.mark.stores("minio", "azurite", "fake_gcs", "gcsd")
# What is asked for raw, and what the store calls it and the class of everything else.
CLASSES = {"minio": ("REDUCED_REDUNDANCY", "REDUCED_REDUNDANCY", "STANDARD"),
           "azurite": ("cool", "Cool", "Hot"),
           "gcsd": ("NEARLINE", "NEARLINE", "STANDARD")}


def tags(minio, name):
    got = minio.s3.get_object_tagging(Bucket=minio.bucket, Key=PREFIX + name)["TagSet"]
    return {t["Key"]: t["Value"] for t in got}


def levels(store, name):
    """Every place where it must be."""
    if store.name == "minio":
        return [tags(store, name).get("processing_level")]
    if store.name == "azurite":
        return [store.client.tags(PREFIX + name).get("processing_level"),
                store.client.stat(PREFIX + name).get("x-ms-meta-processing_level")]
    return [store.client.stat(PREFIX + name).get("metadata", {}).get("processing_level")]


def storage_class(store, name):
    if store.name == "minio":
        head = store.s3.head_object(Bucket=store.bucket, Key=PREFIX + name)
        return head.get("StorageClass", "STANDARD")
    if store.name == "azurite":
        return store.client.stat(PREFIX + name)["x-ms-access-tier"]
    return store.client.stat(PREFIX + name)["storageClass"]


@EVERYWHERE
def test_level_by_form_of_name(store, mount):
    m = mount(store)
    os.mkdir(m.path(EXPOSURE))
    for name, level in LEVELS:
        write(m.path(EXPOSURE, name), name.encode())
        assert set(levels(store, EXPOSURE + "/" + name)) == {level}, name


@EVERYWHERE
def test_large_uploads_are_tagged(store, mount):
    """In parts, under the name that a download ends with."""
    m = mount(store)
    name, data = EXPOSURE + "_uncal.fits", lib.body(LARGE)
    write(m.path(name + ".part"), data)
    os.rename(m.path(name + ".part"), m.path(name))
    assert set(levels(store, name)) == {"raw"}
    same(store.get(name), data)


@EVERYWHERE
def test_rename_changes_the_level(store, mount):
    """A copy at the store has the tag of its new name."""
    m = mount(store)
    write(m.path("scratch.fits"), b"x")
    assert set(levels(store, "scratch.fits")) == {"ancillary"}
    os.rename(m.path("scratch.fits"), m.path(COMBINED + "_i2d.fits"))
    wait("the copy", lambda: store.get(COMBINED + "_i2d.fits") == b"x")
    assert set(levels(store, COMBINED + "_i2d.fits")) == {"combined"}


@pytest.mark.stores(*CLASSES)
def test_class_by_level(store, mount):
    """What no level names is as the bucket has it."""
    asked, raw, other = CLASSES[store.name]
    m = mount(store, storage_class="raw=" + asked)
    write(m.path(EXPOSURE + "_uncal.fits"), b"x")
    write(m.path(EXPOSURE + "_cal.fits"), b"x")
    write(m.path("large"), lib.body(LARGE))
    assert storage_class(store, EXPOSURE + "_uncal.fits") == raw
    assert storage_class(store, EXPOSURE + "_cal.fits") == other
    assert storage_class(store, "large") == other


@pytest.mark.stores(*CLASSES)
def test_class_of_everything(store, mount):
    asked, raw, _ = CLASSES[store.name]
    m = mount(store, storage_class=asked)
    write(m.path("f"), b"x")
    write(m.path("g"), lib.body(LARGE))
    assert storage_class(store, "f") == storage_class(store, "g") == raw


def test_class_that_the_store_has_not(minio, mount):
    """The upload fails, the bytes stay, and the mount with a better option sends them."""
    name = EXPOSURE + "_uncal.fits"
    m = mount(minio, storage_class="raw=NO_SUCH_CLASS", drain="1s")
    fails(errno.EIO, write, m.path(name), b"raw bytes")  # no argument of the program's is wrong
    assert minio.get(name) is None
    assert read(m.path(name)) == b"raw bytes"
    line = [s for s in m.log().splitlines() if "NO_SUCH_CLASS" in s and " option " in s]
    assert line and "storage_class" in line[0]
    write(m.path(EXPOSURE + "_cal.fits"), b"others go on")
    assert minio.get(EXPOSURE + "_cal.fits") == b"others go on"
    m.kill()
    m.force_out()
    m.opts["storage_class"] = "raw=STANDARD"
    m.mount()
    wait("the upload", lambda: minio.get(name) == b"raw bytes")


def test_class_that_the_store_has_not_for_anything(minio, mount):
    """Who mounts is told."""
    m = mount(minio, start=False, storage_class="NO_SUCH_CLASS")
    done = m.run(*m.command()[1:])
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "NO_SUCH_CLASS" in done.stderr and "storage_class" in done.stderr


def warnings(m):
    return [s for s in m.log().splitlines() if "refuses the tag" in s]


@pytest.mark.parametrize("status,code", [(403, "AccessDenied"), (400, "InvalidArgument"),
                                         (501, "NotImplemented")])
def test_refused_tags(s3d, mount, status, code):
    s3d.server.rule("status", header="x-amz-tagging", status=status, code=code)
    m = mount(s3d)
    write(m.path(EXPOSURE + "_uncal.fits"), b"x")
    write(m.path("large"), lib.body(LARGE))
    assert s3d.get(EXPOSURE + "_uncal.fits") == b"x"
    same(s3d.get("large"), lib.body(LARGE))
    assert len(warnings(m)) == 1, warnings(m)
    assert " error" not in m.log()


def test_tags_refused_from_now_on(s3d, mount):
    """A policy that changes under the mount."""
    m = mount(s3d)
    write(m.path("before"), b"x")
    s3d.server.rule("status", header="x-amz-tagging", status=403, code="AccessDenied")
    s3d.server.mark()
    for name in ("a", "b", "c"):
        write(m.path(name), b"x")
        assert s3d.get(name) == b"x"
    refused = [r for r in s3d.server.new("PUT") if r["status"] == 403]
    assert len(refused) == 1 and len(warnings(m)) == 1


def test_tags_refused_by_policy(minio, mount):
    """Everybody may write into this bucket, but nothing with a tag."""
    rule = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
    minio.s3.put_bucket_policy(Bucket=minio.bucket, Policy=json.dumps({
        "Version": "2012-10-17", "Statement": [
            {**rule, "Action": ["s3:ListBucket", "s3:GetBucketLocation",
                                "s3:ListBucketMultipartUploads"],
             "Resource": ["arn:aws:s3:::" + minio.bucket]},
            {**rule, "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject",
                                "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
             "Resource": ["arn:aws:s3:::" + minio.bucket + "/*"]},
            {**rule, "Effect": "Deny", "Action": ["s3:PutObject"],
             "Resource": ["arn:aws:s3:::" + minio.bucket + "/*"],
             "Condition": {"StringLike": {"s3:RequestObjectTag/processing_level": "*"}}}]}))
    m = mount(minio, anonymous=True)
    write(m.path("f"), b"x")
    write(m.path("large"), lib.body(LARGE))
    assert minio.get("f") == b"x"
    same(minio.get("large"), lib.body(LARGE))
    assert tags(minio, "f") == {} and len(warnings(m)) == 1


def test_writes_refused_altogether(s3d, mount):
    """That is not the tag's fault: read-only, no word of tags."""
    s3d.put("f", b"x")
    s3d.server.rule("status", method="PUT", status=403, code="AccessDenied")
    m = mount(s3d)
    assert read(m.path("f")) == b"x"
    fails(errno.EROFS, write, m.path("g"), b"x")
    assert warnings(m) == []
