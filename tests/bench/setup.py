"""setup.py - where the tests' own modules and programs are, before any of them is imported."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = {"MASTFS_MINIO": "bin/minio", "MASTFS_FAKE_GCS": "bin/fake-gcs-server",
            "MASTFS_AZURITE": "azurite/node_modules/.bin/azurite-blob"}


def environment(opts):
    os.environ["MASTFS_BUILD"] = opts.build
    for name, path in PROGRAMS.items():
        os.environ[name] = os.path.join(opts.tools, path)
    tests = os.path.dirname(HERE)
    sys.path[:0] = [os.path.join(tests, d) for d in ("bench", "e2e", "servers", "tools")]
