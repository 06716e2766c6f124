"""Fixtures: stores, mounts over them, and what cleans up.

A test takes `store` (it then runs over each store that its mark `stores` names), or one of
local, s3d, minio, azurite, fake_gcs and gcsd, and makes its mounts with
`mount(store, option=value, ...)`.  Every daemon is unmounted after the test, must have
ended with 0, and must have left no sanitizer's report.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zlib

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib  # noqa: E402
import cloud  # noqa: E402

# Started in the background of a shell we would hand on an ignored SIGINT, and nothing that
# the tests interrupt would end.
signal.signal(signal.SIGINT, signal.default_int_handler)

CLONE_NEWNS = 0x20000
OWN_MOUNTS = """mount --make-rslave /
awk '/ - fuse.mastfs / {print $5}' /proc/self/mountinfo | while read -r at; do
	umount -l "$(printf %b "$at")" || :
done
mkdir -p -m 700 /run/mastfs
mount -t tmpfs -o mode=700 mastfs /run/mastfs
"""


def have_mounts_of_our_own():
    """What other processes' tests mount is not seen here, nor where root's daemons listen.

    Else a container that one of them starts has our mounts as well, and no daemon ends while
    another has its mount; and who looks at all mounts there are would find ours busy."""
    if os.getuid() == 0 and ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0:
        subprocess.run(["sh", "-euc", OWN_MOUNTS], check=True)


have_mounts_of_our_own()

STORES = ("local", "s3d", "minio", "azurite", "fake_gcs", "gcsd")
TEST_SECS = 240  # then the daemons are killed, which ends every call that hangs


def pytest_configure(config):
    config.addinivalue_line("markers", "short: also run under the thread sanitizer")
    config.addinivalue_line("markers", "stores(...): the stores that a test runs over")


def pytest_generate_tests(metafunc):
    if "store" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("stores")
        metafunc.parametrize("store", mark.args if mark else ("local", "s3d"), indirect=True)


# These take longest, and a file is one process's: begun last, they would be waited for.
LONG = ("test_fault_matrix", "test_faults", "test_crash", "test_copy", "test_dirs", "test_late",
        "test_suites", "test_readme", "test_versions", "test_secrets", "test_union")


def pytest_collection_modifyitems(config, items):
    """The long files first.  MASTFS_THIRD=0, 1 or 2: only that third of the tests, by their
    names."""
    place = {name: n for n, name in enumerate(LONG)}
    items.sort(key=lambda i: place.get(i.path.stem, len(LONG)))
    third = os.environ.get("MASTFS_THIRD")
    if third:
        mine = [i for i in items if zlib.crc32(i.nodeid.encode()) % 3 == int(third)]
        config.hook.pytest_deselected(items=[i for i in items if i not in mine])
        items[:] = mine


def why_not():
    if not os.access(lib.MASTFS, os.X_OK):
        return "MASTFS_BUILD has no fs/mastfs: run this by tests/run"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as err:
        return "/dev/fuse: " + err.strerror
    if not shutil.which("fusermount3"):
        return "no fusermount3"
    return ""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    setattr(item, "rep_" + report.when, report)
    if report.failed and call.when in ("call", "setup"):
        for mount in getattr(item, "mounts", []):
            report.sections.append(("daemon's log, " + mount.folder, mount.tail(60)))


@pytest.fixture
def folder():
    """Short and world-searchable, so that another user may mount in it; not below pytest's
    own, which each session that begins closes to other users again."""
    path = tempfile.mkdtemp(prefix="mastfs-e2e-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def session_server(name, program, make):
    @pytest.fixture(scope="session")
    def server(tmp_path_factory):
        if not program:
            pytest.skip("no " + name)
        place = str(tmp_path_factory.mktemp(name))
        made = make(place)
        yield made
        made.stop()
        shutil.rmtree(place, ignore_errors=True)
    return server


minio_server = session_server("MinIO", lib.MINIO, lib.MinioServer)
azurite_server = session_server("Azurite", cloud.AZURITE, cloud.AzuriteServer)
fake_gcs_server = session_server("fake-gcs-server", cloud.FAKE_GCS, cloud.FakeGcsServer)


@pytest.fixture
def local(folder):
    return lib.LocalStore(folder)


@pytest.fixture
def s3d(folder):
    store = lib.S3dStore(folder)
    yield store
    store.stop()


@pytest.fixture
def minio(minio_server):
    return lib.MinioStore(minio_server)


@pytest.fixture
def azurite(azurite_server):
    return cloud.AzuriteStore(azurite_server)


@pytest.fixture
def fake_gcs(fake_gcs_server):
    return cloud.FakeGcsStore(fake_gcs_server)


@pytest.fixture
def gcsd(folder):
    store = cloud.GcsdStore(folder)
    yield store
    store.stop()


@pytest.fixture
def store(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def mount(request, folder):
    """mount(store, option=value, ...) -> Mount, mounted; start=False leaves that to the test."""
    if why_not():
        pytest.skip(why_not())
    for name in ("store", *STORES):
        if name in request.fixturenames:  # made before us, so ended after us
            request.getfixturevalue(name)
    made = request.node.mounts = []

    def make(store, start=True, env=None, user=None, **opts):
        place = os.path.join(folder, "m%d" % len(made))
        os.mkdir(place)
        made.append(lib.Mount(place, store, opts, env, user=user))
        return made[-1].mount() if start else made[-1]

    def hung():
        print("the test hangs: killing its daemons", file=sys.stderr)
        for m in made:
            m.force_out()

    timer = threading.Timer(TEST_SECS * lib.SLOW, hung)
    timer.daemon = True
    timer.start()
    yield make
    timer.cancel()
    passed = getattr(request.node, "rep_call", None) and request.node.rep_call.passed
    errors = []
    for m in made:
        try:
            if passed and m.process and m.process.poll() is None and lib.mounted(m.point):
                m.umount()
            m.check_sanitizers()
        except (AssertionError, lib.subprocess.TimeoutExpired) as err:
            errors.append("%s\n%s" % (err, m.tail()))
        finally:
            m.force_out()
    assert not errors, "\n".join(errors)


@pytest.fixture
def mnt(store, mount):
    return mount(store)
