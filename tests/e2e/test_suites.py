"""Public suites over the mount, short; `tests/torture suites` runs them for long (P1-P3)."""
import importlib.util
import shutil

import pytest

import lib  # first: it sets the path
import suites

pytestmark = [pytest.mark.stores("s3d"), pytest.mark.parametrize("upload", ["close", "background"]),
              pytest.mark.skipif(bool(lib.SANITIZER), reason="long; the other tests do as much")]


def need(there, what):
    if not there:
        pytest.skip("no " + what)


def test_fio_verifies_what_it_wrote(store, mount, folder, upload):
    need(shutil.which("fio"), "fio")
    suites.fio(mount(store, upload=upload), store, folder, 1 << 20)


def test_fsx(store, mount, folder, upload):
    need(suites.FSX, "fsx")
    suites.fsx(mount(store, upload=upload), store, folder, 20000, 1)


def test_git_clone_gc_fsck(store, mount, folder, upload):
    need(shutil.which("git"), "git")
    suites.git(mount(store, upload=upload), store, folder, "")


def test_sqlite_dumps_are_the_same(store, mount, folder, upload):
    suites.sqlite(mount(store, upload=upload), store, folder, 60, 1)


def test_zip_and_unzip(store, mount, folder, upload):
    need(shutil.which("zip") and shutil.which("unzip"), "zip")
    suites.zipped(mount(store, upload=upload), store, folder, 37, 1)


def test_h5py(store, mount, folder, upload):
    need(importlib.util.find_spec("h5py"), "h5py")
    suites.h5py(mount(store, upload=upload), store, folder, 5000, 1)
