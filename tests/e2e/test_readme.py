"""README.md: each of its commands is typed by a test, as it stands there.

Those about mounts are typed here, in a root of their own: an overlay over this machine's,
with servers that have the buckets that README speaks of.  What other suites type is in
ELSEWHERE; they take it from README, too.
"""
import os
import re
import subprocess

import pytest

import azurectl
import lib
import mkarchive
import s3ctl

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POINT = "/app/data/mast"
# The account of the server that is at hand.
STANDS_FOR = {"az://account/": "az://%s/" % azurectl.ACCOUNT}
# What begins so -> the suite that types it.
ELSEWHERE = {"docker ": "tests/docker/test_recipes.py",
             "tests/package": "tests/package", "apt install ": "tests/packaging/checks",
             "install -m 600 ": "tests/packaging/checks",
             "systemctl ": "tests/packaging/checks",
             "tests/run ": "tests/run"}
# What else than 0 they end with: until it is interrupted; the cache is on an overlay here.
ENDS_WITH = {"mastfs status -w": 124, "mastfs doctor": 3}


def commands():
    """The lines of README's code blocks, a continued one as one, without comments."""
    with open(os.path.join(ROOT, "README.md")) as f:
        blocks = re.findall(r"^```\n(.*?)^```$", f.read(), re.M | re.S)
    lines = re.sub(r"\\\n\s*", "", "".join(blocks)).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines
            if re.match(r"[a-z./]+( |$)", line) and not re.match("problem |a program", line)]


def elsewhere(line):
    return [suite for start, suite in ELSEWHERE.items() if (line + " ").startswith(start)]


def here(verb):
    return [line for line in commands() if line.startswith("mastfs " + verb)]


def test_all_are_typed():
    """Each begins as one that is run here or elsewhere, and there is such a suite."""
    assert len(commands()) >= 10
    for line in commands():
        mine = line.split()[0] in ("mastfs", "tests/demo")
        assert mine or elsewhere(line), line
        for suite in elsewhere(line):
            assert os.path.exists(os.path.join(ROOT, suite)), (line, suite)


class Place:
    """A root in which any path may be made; what is mounted in it is nobody else's."""

    SCRIPT = """set -eu
cd "$1"
mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work root
mount -t tmpfs tmpfs root/run
mkdir -p root%s root/srv/mast
for d in /dev /proc /sys /tmp "$2" "$3"; do mkdir -p root$d; mount --rbind $d root$d; done
exec chroot root sh -euc "cd $2; $4"
""" % POINT

    def __init__(self, folder, env):
        self.folder = folder
        self.env = {"PATH": "%s:%s" % (os.path.dirname(lib.MASTFS), os.environ["PATH"]),
                    "HOME": os.environ.get("HOME", "/root"), "LC_ALL": "C", **env}
        for name in ("MASTFS_WORK", "MASTFS_TOOLS", "XDG_CACHE_HOME", "ASAN_OPTIONS",
                     "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        for name in ("up", "work", "root"):
            os.mkdir(os.path.join(folder, name))

    def type(self, script):
        """What was written, and the last status; whatever it mounted is taken away."""
        script = 'trap "mastfs umount %s 2>/dev/null || :" EXIT\n%s' % (POINT, script)
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", self.SCRIPT, "sh",
             self.folder, ROOT, os.path.dirname(lib.BUILD), script], env=self.env, text=True,
            timeout=300 * lib.SLOW, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout


def substituted(line):
    for old, new in STANDS_FOR.items():
        line = line.replace(old, new)
    return line


@pytest.fixture(scope="module")
def servers(minio_server, azurite_server, fake_gcs_server, tmp_path_factory):
    """Those of README: bucket, container, and the archive; and the variables that lead there."""
    minio_server.s3.create_bucket(Bucket="bucket")
    azurite_server.make("container")
    fake_gcs_server.make("bucket")
    archive = s3ctl.S3d(str(tmp_path_factory.mktemp("archive")), "--anonymous",
                        bucket="stpubdata")
    archive.put(mkarchive.exposure_key(mkarchive.IMAGING[0] + "_cal.fits"), b"bytes")
    yield {"AWS_ENDPOINT_URL": minio_server.url, "AWS_REGION": "us-east-1",
           "AWS_ACCESS_KEY_ID": minio_server.user,
           "AWS_SECRET_ACCESS_KEY": minio_server.password,
           "AZURE_STORAGE_CONNECTION_STRING": azurectl.connection_string(azurite_server.url),
           "STORAGE_EMULATOR_HOST": fake_gcs_server.url,
           "MASTFS_MAST_ENDPOINT": archive.url}
    archive.stop()


@pytest.fixture
def place(servers, tmp_path):
    if os.getuid():
        pytest.skip("only root may make a root")
    return Place(str(tmp_path), servers)


def well(place, script):
    status, said = place.type(script)
    assert status == 0, said
    return said


@pytest.mark.parametrize("line", here("mount"))
def test_mount(place, line):
    """It is mounted where README says, answers, and is gone again."""
    well(place, "%s\ntest -d %s\nls %s\nfindmnt -t fuse.mastfs %s\nmastfs umount %s\n"
         "! findmnt -t fuse.mastfs %s" % (substituted(line), *[POINT] * 5))


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("mastfs ")
                                  and c not in here("mount") + here("umount")])
def test_of_a_mount(place, line):
    """What is asked of mastfs while one is there."""
    want = next((s for start, s in ENDS_WITH.items() if line.startswith(start)), 0)
    said = well(place, "mastfs mount s3://bucket/prefix %s\nset +e\ntimeout 10 %s\n"
                'test $? = %d' % (POINT, line, want))
    assert "--quiet" in line or said


@pytest.mark.parametrize("line", here("umount"))
def test_umount(place, line):
    well(place, "mastfs mount file:///srv/mast\necho 1 > %s/f\n%s\n"
         "! findmnt -t fuse.mastfs %s\ncat /srv/mast/f" % (POINT, line, POINT))


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("tests/demo")])
def test_demo(place, line):
    """It builds the plain tree: so it is typed where that is built already."""
    if os.path.basename(lib.BUILD) != "plain":
        pytest.skip("by tests/run, in the plain tree")
    said = well(place, line)
    assert "The mount is up." in said
