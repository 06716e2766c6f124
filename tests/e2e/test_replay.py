"""The application's calls, as a program makes them: on the mount as on a disk."""
import json
import os
import subprocess
import sys

import pytest

import lib
from lib import wait

OWN = os.path.join(lib.TESTS, "tools", "replay.py")
SHARED = os.path.join(lib.TESTS, "..", "..", "shared", "tools", "replay.py")
pytestmark = pytest.mark.stores("local", "minio")


def play(script, root, *args):
    done = subprocess.run([sys.executable, script, root, *args], text=True,
                          timeout=400 * lib.SLOW, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.short
def test_application_twice_in_a_row(store, mount):
    """Afterwards the bucket holds what the application has left: nothing (P6)."""
    m = mount(store)
    for _ in range(2):
        play(OWN, m.point)
    assert m.rss() <= 256 << 20 or lib.SANITIZER, m.rss()
    m.umount()
    assert store.files() == []
    assert store.uploads() == []


@pytest.mark.parametrize("upload", ["close", "background"])
def test_bucket_holds_exactly_the_final_names(store, mount, upload):
    m = mount(store, upload=upload)
    want = json.loads(play(OWN, m.point, "--keep").splitlines()[-1])
    assert want and not [n for n in want if n.endswith((".part", ".tmp"))]
    m.umount()
    assert store.files() == sorted(want)
    for name, size in want.items():
        assert len(store.get(name)) == size, name
    assert store.uploads() == []
    m.remount(wipe=True)
    assert {n: s for n, s in lib.tree(m.point).items() if s is not None} == want


@pytest.mark.skipif(not os.path.exists(SHARED), reason="no ../shared")
def test_shared_replay_twice_in_a_row(store, mount):
    m = mount(store)
    for _ in range(2):
        play(SHARED, m.point)
    m.umount()
    wait("no temporary name in the bucket", lambda: not [
        n for n in store.files() if ".part" in n or ".tmp" in n or ".download_state" in n])
    assert store.files() == ["dotnet_new.fits"] or store.files() == [], store.files()
    assert store.uploads() == []
