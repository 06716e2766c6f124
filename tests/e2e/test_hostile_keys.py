"""Keys that cannot be file names: hidden, counted in the log, their neighbours still listed."""
import errno
import os
import re
import subprocess

import pytest

from lib import PREFIX, fails, read, wait

NO_NAME = ["d/..", "d/.", "d//b", "d/../../up", "/x", "d/" + "x" * 256, "d/./y", "d/../z", "//",
           "d/e//", "..", "d/nul\0byte"]


def test_they_are_hidden_and_their_neighbours_are_not(s3d, mount):
    for key in NO_NAME:
        s3d.put(key, b"hostile")
    for key in ("d/good.fits", "top", "d/sub/x"):
        s3d.put(key, key.encode())
    m = mount(s3d)
    assert sorted(os.listdir(m.point)) == ["d", "top"]
    listed = sorted(os.listdir(m.path("d")))
    assert [n for n in listed if n != "e"] == ["good.fits", "sub"], listed
    every = subprocess.run(["ls", "-f", m.path("d")], stdout=subprocess.PIPE, check=True)
    assert [n for n in every.stdout.split() if set(n) == {ord(".")}] in ([b".", b".."],
                                                                         [b"..", b"."])
    assert read(m.path("d/good.fits")) == b"d/good.fits"
    assert os.listdir(m.path("d/sub")) == ["x"]
    wait("the log counts what was hidden",
         lambda: re.search(r"[1-9]\d* keys cannot be file names and are not shown", m.log()))
    m.umount()
    assert [c["key"] for c in s3d.server.commits() if c["op"] == "delete"
            and c["key"][len(PREFIX):] in NO_NAME] == []


def test_control_bytes_and_newlines_are_names(s3d, mount):
    names = ["new\nline", "\x01\x02", "esc\x1b[31m", "\x7f", "cr\rin"]
    for name in names:
        s3d.put("d/" + name, name.encode())
    m = mount(s3d)
    assert sorted(os.listdir(m.path("d"))) == sorted(names)
    for name in names:
        assert read(m.path("d", name)) == name.encode()
    assert "\x1b" not in m.log(), "a key's control bytes reached the log as they are"


def test_file_and_directory_of_one_name(s3d, mount):
    """The directory wins; what it shadows is neither lost nor in the way."""
    s3d.put("a", b"file")
    s3d.put("a/b", b"below")
    m = mount(s3d)
    assert os.listdir(m.point) == ["a"]
    assert os.listdir(m.path("a")) == ["b"]
    assert read(m.path("a/b")) == b"below"
    assert s3d.get("a") == b"file"


def test_directory_markers(s3d, mount):
    s3d.put("empty/", b"")
    s3d.put("full/", b"content of a marker")
    s3d.put("full/f", b"1")
    m = mount(s3d)
    assert sorted(os.listdir(m.point)) == ["empty", "full"]
    assert os.listdir(m.path("empty")) == []
    assert os.listdir(m.path("full")) == ["f"]


def test_keys_outside_the_prefix_are_not_seen(s3d, mount):
    s3d.server.put(PREFIX[:-1] + "-other/x", b"")
    s3d.server.put("elsewhere", b"")
    s3d.put("mine", b"")
    m = mount(s3d)
    assert os.listdir(m.point) == ["mine"]


@pytest.mark.stores("local", "s3d")
def test_names_that_no_object_can_have(store, mount):
    m = mount(store)
    fails(errno.ENAMETOOLONG, open, m.path("x" * 256), "wb")
    deep = m.path(*["d" * 200] * 5)
    try:
        os.makedirs(deep)
        open(os.path.join(deep, "x" * 200), "wb").close()
    except OSError as err:
        assert err.errno == errno.ENAMETOOLONG, err
    else:
        assert store.name == "local"
