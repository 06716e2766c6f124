"""A directory of 100,000 files: what is asked, what is shown, and how much memory it takes."""
import os
import subprocess

import pytest

import lib
import manykeys

PAGES = manykeys.COUNT // manykeys.PAGE
MIB = 1 << 20
# What guesses where to cut may cost, and the look-ups on the way there.
CUTS, LOOKUPS = 8, 4


@pytest.fixture
def many():
    server = manykeys.ManyKeysServer()
    store = lib.S3Store()
    store.setup(server.url, "key", "secret", "bench")
    store.server = server
    yield store
    server.stop()


def listed(m):
    """Names and sizes, as ls -l has them."""
    done = subprocess.run(["ls", "-l", "--time-style=+", m.point], stdout=subprocess.PIPE,
                          check=True, text=True, env={**os.environ, "LC_ALL": "C"})
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return [(row[5], int(row[4])) for row in rows]


def test_a_hundred_thousand_names(many, mount, monkeypatch):
    """Cold, as few LISTs as there are pages; again, and after a restart, nothing (P7).  Each
    name once, with its size, and no HEAD for it."""
    want = [(name.rpartition("/")[2], manykeys.size_of(n))
            for n, name in enumerate(manykeys.NAMES)]
    m = mount(many, ro="yes", log_level="info")
    many.server.requests()
    assert listed(m) == want
    asked = many.server.requests()
    assert [line for line in asked if line.startswith("HEAD")] == []
    assert PAGES <= len(asked) <= PAGES + CUTS + LOOKUPS, len(asked)
    assert listed(m) == want
    assert many.server.requests() == []
    # Nor for names that are not there.
    for n in range(50):
        lib.fails(lib.errno.ENOENT, os.stat, m.path("jw%05d_rate.fits" % n))
    assert many.server.requests() == []
    if not os.environ.get("MASTFS_SANITIZE"):
        assert m.rss() <= 128 * MIB, m.rss() / MIB  # peak, P9

    lib.wait("the listing to be kept", lambda: kept(m))
    m.umount()
    m.mount()
    many.server.requests()
    assert listed(m) == want
    assert many.server.requests() == []


def kept(m):
    """The pages are in the index (or its write-ahead log): tens of bytes a name."""
    found = [os.path.join(top, name) for top, _, names in os.walk(m.cache) for name in names
             if name.startswith("index.db")]
    return sum(os.path.getsize(path) for path in found) > 40 * manykeys.COUNT
