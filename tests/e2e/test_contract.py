"""The contract of backend.h over a directory, over s3d, which checks and logs, and over MinIO."""
import os
import subprocess

import pytest

import lib

CONTRACT = os.path.join(lib.BUILD, "tests", "contract")
pytestmark = [pytest.mark.short, pytest.mark.stores("local", "s3d", "minio")]


def run(store, folder, *command, **extra):
    env = {k: os.environ[k] for k in lib.KEPT_ENV if k in os.environ}
    report = os.path.join(folder, "sanitizer")
    env.update(store.env, ASAN_OPTIONS="log_path=" + report, UBSAN_OPTIONS="log_path=" + report
               + ":print_stacktrace=1", TSAN_OPTIONS="log_path=" + report,
               AWS_EC2_METADATA_DISABLED="true", **extra)
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300 * lib.SLOW)
    for name in os.listdir(folder):
        if name.startswith("sanitizer."):
            raise AssertionError(lib.read(os.path.join(folder, name)).decode()[:6000])
    assert done.returncode == 0, "exit %d\n%s" % (done.returncode, done.stdout[-6000:])


def program(*names):
    for name in names:
        path = os.path.join(CONTRACT, name)
        if os.access(path, os.X_OK):
            return path
    pytest.skip("no %s below %s" % (names[0], CONTRACT))


def test_backend_contract(store, folder):
    run(store, folder, program("test_backend_contract"), store.source,
        MASTFS_TEST_ENDPOINT=store.env.get("AWS_ENDPOINT_URL", ""))
    assert store.files() == []
    assert store.uploads() == []


@pytest.mark.stores("s3d", "minio")
def test_what_only_s3_has(store, folder):
    run(store, folder, program("test_s3", "test_s3_contract"), MASTFS_TEST_URL=store.source)
    assert store.files() == []
    assert store.uploads() == []
