"""What people use: cp, mv, rsync, tar, sed, dd, git, the shell."""
import os
import shutil

import pytest

import lib
from lib import alike, arrived, body, read, same, sh, write

pytestmark = pytest.mark.stores("local", "s3d")


def need(tool):
    if not shutil.which(tool):
        pytest.skip("no " + tool)


@pytest.fixture
def disk(folder):
    """A small tree with times of its own."""
    root = os.path.join(folder, "disk")
    os.makedirs(root + "/sub/deep")
    for n, name in enumerate(("a.fits", "sub/b.fits", "sub/deep/c.txt", "sub/empty")):
        write(os.path.join(root, name), body(n * 700000, n) if n < 3 else b"")
        os.utime(os.path.join(root, name), (1500000000 + n, 1500000000 + n))
    return root


def test_cp_both_ways(store, mnt, disk, folder):
    sh('cp -r "$1" "$2/x"', disk, mnt.point)
    alike(disk, mnt.path("x"))
    mnt.remount(wipe=True)
    sh('cp -r "$2/x" "$1"', folder + "/back", mnt.point)
    alike(disk, folder + "/back")


def test_cp_keeps_times(store, mnt, disk):
    sh('cp -p "$1/a.fits" "$2/a.fits"', disk, mnt.point)
    assert int(os.stat(mnt.path("a.fits")).st_mtime) == 1500000000
    mnt.remount()
    assert int(os.stat(mnt.path("a.fits")).st_mtime) == 1500000000


def test_cp_within_the_mount(store, mnt):
    store.put("a", body(3 << 20))
    sh('cp "$1/a" "$1/b"', mnt.point)
    same(read(mnt.path("b")), body(3 << 20))
    same(store.get("b"), body(3 << 20))


def test_mv(store, mnt, disk):
    sh('mv "$1/a.fits" "$2/a.fits"; mv "$2/a.fits" "$2/b.fits"; mkdir "$2/d"; '
       'mv "$2/b.fits" "$2/d"', disk, mnt.point)
    assert sorted(lib.tree(mnt.point)) == ["d", "d/b.fits"]
    mnt.umount()
    assert store.files() == ["d/b.fits"]


def test_rsync_twice(store, mnt, disk):
    """The second run transfers nothing, and again after a remount."""
    need("rsync")
    sh('rsync -a "$1/" "$2/x"', disk, mnt.point)
    alike(disk, mnt.path("x"))
    for _ in range(2):
        said = sh('rsync -a --no-perms --omit-dir-times --itemize-changes "$1/" "$2/x"',
                  disk, mnt.point)
        sent = [line for line in said.splitlines() if line.startswith((">f", "cf"))]
        assert sent == []
        mnt.remount()
    assert [n for n in store.files() if "/." in n] == []
    arrived(mnt, store, disk, "x")


def test_tar_in_and_out(store, mnt, disk):
    sh('tar -C "$1" -cf "$2/x.tar" . && mkdir "$2/y" && tar -C "$2/y" -xf "$2/x.tar" '
       '--no-same-owner', disk, mnt.point)
    arrived(mnt, store, disk, "y")


def test_sed_in_place(store, mnt):
    store.put("notes.txt", b"one two\n" * 1000)
    sh('sed -i s/two/three/ "$1/notes.txt"', mnt.point)
    same(store.get("notes.txt"), b"one three\n" * 1000)
    mnt.umount()
    assert store.files() == ["notes.txt"]


def test_dd_without_truncation(store, mnt):
    store.put("f", body(1 << 20))
    write(mnt.folder + "/in", b"Z" * 512)
    sh('dd if="$2" of="$1/f" bs=512 seek=100 conv=notrunc status=none', mnt.point,
       mnt.folder + "/in")
    same(store.get("f"), body(1 << 20)[:51200] + b"Z" * 512 + body(1 << 20)[51712:])


def test_redirections(store, mnt):
    sh('echo one > "$1/f"; echo two >> "$1/f"; : > "$1/g"; cat "$1/f" "$1/f" > "$1/h"',
       mnt.point)
    assert store.get("f") == b"one\ntwo\n" and store.get("g") == b""
    assert store.get("h") == b"one\ntwo\none\ntwo\n"


def test_find_and_du_and_rm(store, mnt, disk):
    sh('cp -r "$1" "$2/x"', disk, mnt.point)
    said = sh('cd "$1" && find . -type f | sort; du -s . > /dev/null; rm -r x; ls -a', mnt.point)
    assert said.split() == ["./x/a.fits", "./x/sub/b.fits", "./x/sub/deep/c.txt",
                            "./x/sub/empty", ".", ".."]
    mnt.umount()
    assert store.files() == []


def test_git(store, mnt):
    """A repository on the mount: locks, renames, links that are refused, mapped packs."""
    need("git")
    sh('cd "$1" && export HOME="$1" GIT_CONFIG_NOSYSTEM=1 && git init -q r && cd r && '
       'git config user.email a@b && git config user.name x && '
       'seq 1000 > f && git add f && git commit -qm one && seq 2000 > f && '
       'git commit -qam two && git gc -q && git fsck --no-progress && '
       'test -z "$(git status --porcelain)"', mnt.point)


def test_python_shutil(store, mnt, disk):
    """copy2: utime and chmod after the close."""
    shutil.copytree(disk, mnt.path("x"))
    alike(disk, mnt.path("x"))
    shutil.move(mnt.path("x/a.fits"), mnt.path("a.fits"))
    shutil.rmtree(mnt.path("x"))
    mnt.umount()
    assert store.files() == ["a.fits"]


def test_times_past_the_last(mnt):
    """What 64 bits of nanoseconds do not hold is the nearest that they do, not any."""
    write(mnt.path("f"), b"1")
    os.utime(mnt.path("f"), (32503680000, 32503680000))  # the year 3000
    assert os.stat(mnt.path("f")).st_mtime_ns == (1 << 63) - 1
    os.utime(mnt.path("f"), (-(1 << 40), -(1 << 40)))
    assert os.stat(mnt.path("f")).st_mtime_ns < 0
