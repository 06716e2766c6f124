"""Names that look as if they stayed here (P6) and are in the bucket: others', directories."""
import os
import time

import pytest

from lib import read, write


def is_as_any_other(s3d, m, path):
    assert read(m.path(path)) == b"abc"
    assert os.listdir(m.path("")) == [path.split("/")[0]]
    write(m.path(path), b"changed")
    assert s3d.get(path) == b"changed"
    os.unlink(m.path(path))
    m.umount()
    assert path not in s3d.files()


@pytest.mark.parametrize("path", ["catalog.20240131", "catalog.0123abcd", "sediments/a.fits",
                                  "tmp_image_1", "tmp_stars_1/a.fits"])
def test_names_of_others_that_look_local(s3d, mount, path):
    """P6: they are read, listed or not, changed and removed, as any other."""
    s3d.put(path, b"abc")
    is_as_any_other(s3d, mount(s3d, ttl="1s"), path)


@pytest.mark.parametrize("path", ["x.tmp", "run.tmp/a.fits", "y.part/z"])
def test_names_of_others_that_are_local_words(s3d, mount, path):
    """P6: what was listed is there, and stays so after the ttl."""
    s3d.put(path, b"abc")
    m = mount(s3d, ttl="1s")
    assert os.listdir(m.path("")) == [path.split("/")[0]]
    time.sleep(1.5)
    is_as_any_other(s3d, m, path)


@pytest.mark.parametrize("name", ["sediments", "run.tmp", "tmp_stars_1"])
def test_files_in_a_directory_with_a_local_name(s3d, mount, name):
    """P6: files go to the bucket, and another mount reads them."""
    m = mount(s3d)
    os.mkdir(m.path(name))
    write(m.path(name, "a.fits"), b"abc")
    assert s3d.get(name + "/a.fits") == b"abc"
    other = mount(s3d)
    assert os.listdir(other.path("")) == [name]
    assert read(other.path(name, "a.fits")) == b"abc"


def test_dated_names_and_words_are_uploaded(s3d, mount):
    m = mount(s3d)
    for name in ("catalog.20240131", "sediments"):
        write(m.path(name), b"precious")
        assert s3d.get(name) == b"precious"
