"""world.py - a bucket and mounts over it for what runs by command; gone afterwards."""
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "e2e")]
import lib  # noqa: E402

TOOLS = os.environ.get("MASTFS_TOOLS", os.path.expanduser("~/.cache/mastfs-tools"))


def tool(variable, name):
    """Where tests/run has put a program, or where the system has it; "" if it is nowhere."""
    kept = os.path.join(TOOLS, "bin", name)
    return (os.environ.get(variable) or (kept if os.access(kept, os.X_OK) else "")
            or shutil.which(name) or "")


class World:
    """with World("s3d") as w: w.mount(ttl=0)"""

    def __init__(self, kind, folder=None):
        if not os.access(lib.MASTFS, os.X_OK):
            sys.exit("MASTFS_BUILD (%r) is no build tree: it has no fs/mastfs" % lib.BUILD)
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="mastfs-stress-")
        self.commits = os.path.join(self.folder, "commits")
        self.store = lib.LocalStore(self.folder) if kind == "local" else lib.S3dStore(
            self.folder, "--commits", self.commits)
        self.mounts = []

    def mount(self, **opts):
        place = os.path.join(self.folder, "m%d" % len(self.mounts))
        os.mkdir(place)
        self.mounts.append(lib.Mount(place, self.store, {"log_level": "info", **opts}))
        return self.mounts[-1].mount()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for m in self.mounts:
            m.force_out()
        self.store.stop()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)
