"""While the kernel makes inodes of some names, the daemon has the next ones ready: nobody
may be shown what was true only then."""
import ctypes
import glob
import os
import struct
import time

import pytest

from lib import body, fails, wait, write

PAGE, NAMES = 4096, ["f%03d" % n for n in range(300)]
LATER = 0.05  # the next ones are ready by then
LIBC = ctypes.CDLL(None, use_errno=True)


def getdents(fd):
    """Name -> place behind it, of one call: one question to the daemon."""
    buf = ctypes.create_string_buffer(PAGE)
    n = LIBC.getdents64(fd, buf, PAGE)
    assert n >= 0, os.strerror(ctypes.get_errno())
    found, at = {}, 0
    while at < n:
        place, length = struct.unpack_from("=qH", buf, at + 8)
        name = buf[at + 19:at + length].partition(b"\0")[0].decode()
        if name not in (".", ".."):
            found[name] = place
        at += length
    return found


def rest(fd):
    found = {}
    while True:
        more = getdents(fd)
        if not more:
            return found
        assert not set(found) & set(more)
        found.update(more)


@pytest.fixture
def many(store, mount):
    for name in NAMES:
        store.put("d/" + name, body(10))
    m = mount(store)
    os.stat(m.path("d"))
    m.fds = []
    m.open = lambda: m.fds.append(os.open(m.path("d"), os.O_RDONLY)) or m.fds[-1]
    yield m
    for fd in m.fds:
        os.close(fd)


def grow(m, name):
    write(m.path("d", name), body(5000))
    return {name: 5000}


def cut(m, name):
    os.truncate(m.path("d", name), 3)
    return {name: 3}


def unlink(m, name):
    os.unlink(m.path("d", name))
    return {name: None}


def rename(m, name):
    os.rename(m.path("d", name), m.path("moved"))
    return {name: None}


def rename_onto(m, name):
    write(m.path("other"), body(77))
    os.rename(m.path("other"), m.path("d", name))
    return {name: 77}


@pytest.mark.parametrize("change", [grow, cut, unlink, rename, rename_onto])
def test_a_change_in_between_is_seen(many, change):
    """Each in what is read next."""
    fd = many.open()
    seen = getdents(fd)
    assert len(seen) < len(NAMES) // 2
    for _ in range(5):
        time.sleep(LATER)
        name = next(n for n in NAMES if n not in seen)
        want = change(many, name)
        found = getdents(fd)
        for other, size in want.items():
            assert (other in found) == (size is not None)
            if size is None:
                fails(2, os.stat, many.path("d", other))
            else:
                assert os.stat(many.path("d", other)).st_size == size
        seen.update(found)
        seen.setdefault(name, None)
    seen.update(rest(fd))
    assert sorted(n for n in seen if n[0] == "f") == NAMES


def test_the_directory_moves_in_between(many):
    """What is read next tells nothing of its old name."""
    fd = many.open()
    seen = getdents(fd)
    time.sleep(LATER)
    name = next(n for n in NAMES if n not in seen)
    os.rename(many.path("d"), many.path("e"))
    getdents(fd)
    assert os.stat(many.path("e", name)).st_size == 10
    fails(2, os.stat, many.path("d", name))
    os.rename(many.path("e"), many.path("d"))
    rest(fd)
    assert sorted(os.listdir(many.path("d"))) == NAMES


def test_who_has_the_old_name_now_keeps_it(many, store):
    """P2: a stream of the moved directory shows the name that is in its place."""
    fd = many.open()
    seen = getdents(fd)
    name = next(n for n in NAMES if n not in seen)
    os.rename(many.path("d"), many.path("e"))
    os.mkdir(many.path("d"))
    write(many.path("d", name), body(5000))
    wait("it is the cache's", lambda: not os.listdir(
        glob.glob(os.path.join(many.cache, "*", "staged"))[0]))
    writer = os.open(many.path("d", name), os.O_RDWR)
    rest(fd)
    os.pwrite(writer, b"NEW", 0)
    os.close(writer)
    assert store.get("d/" + name) == b"NEW" + body(5000)[3:]


def test_seeks(many):
    """telldir and seekdir, to what was read, and from the start."""
    fd = many.open()
    first = getdents(fd)
    second = getdents(fd)
    after = list(first.values())[-3]
    os.lseek(fd, after, os.SEEK_SET)
    assert list(getdents(fd))[:2] == list(first)[-2:]
    os.lseek(fd, list(first.values())[-1], os.SEEK_SET)
    assert getdents(fd) == second
    os.lseek(fd, 0, os.SEEK_SET)
    assert sorted(rest(fd)) == NAMES
    assert getdents(fd) == {}


def test_from_the_start_it_is_read_anew(many):
    """POSIX of rewinddir; os.listdir of one descriptor again and again rests on it."""
    fd = many.open()
    assert sorted(os.listdir(fd)) == NAMES
    write(many.path("d/new"), body(7))
    os.unlink(many.path("d", NAMES[0]))
    assert sorted(os.listdir(fd)) == NAMES[1:] + ["new"]
    os.rename(many.path("d"), many.path("e"))
    os.unlink(many.path("e", NAMES[1]))
    assert sorted(os.listdir(fd)) == NAMES[2:] + ["new"]


def test_what_was_done_since_it_was_opened(many):
    """fdopendir: it is the reading that shows it as it is, not the opening."""
    fd = many.open()
    write(many.path("d/new"), body(7))
    os.unlink(many.path("d", NAMES[0]))
    assert sorted(os.listdir(fd)) == NAMES[1:] + ["new"]
    fd = many.open()
    os.rename(many.path("d"), many.path("e"))
    os.unlink(many.path("e", NAMES[1]))
    assert sorted(os.listdir(fd)) == NAMES[2:] + ["new"]


def test_two_at_once_and_left_in_the_middle(many):
    one, two = many.open(), many.open()
    left = [many.open() for _ in range(40)]  # more than are kept ready
    found = [getdents(one), getdents(two)]
    for fd in left:
        assert len(getdents(fd)) == len(found[0])
    while True:
        more = getdents(one), getdents(two)
        if not more[0] and not more[1]:
            break
        found[0].update(more[0])
        found[1].update(more[1])
    assert sorted(found[0]) == sorted(found[1]) == NAMES
    for fd in left[::2]:
        many.fds.remove(fd)
        os.close(fd)
    os.unlink(many.path("d", NAMES[-1]))
    for fd in left[1::2]:
        assert NAMES[-1] not in rest(fd)
    assert sorted(os.listdir(many.path("d"))) == NAMES[:-1]
