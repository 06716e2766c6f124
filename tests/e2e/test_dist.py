"""What is installed beside the executable: all of it, in its place; and the manual, the
completion and the unit agree with the verbs and the options that there are."""
import os
import re
import shutil
import stat
import subprocess

import pytest

import lib
from manager import Unit
from test_options import table

pytestmark = pytest.mark.skipif(not os.access(lib.MASTFS, os.X_OK),
                                reason="MASTFS_BUILD has no fs/mastfs: run this by tests/run")

INSTALLED = """
bin/mastfs
etc/mastfs/example.env
lib/systemd/system/mastfs@.service
sbin/mount.fuse.mastfs
sbin/mount.mastfs
sbin/umount.fuse.mastfs
share/bash-completion/completions/mastfs
share/man/man1/mastfs.1
share/man/man8/mount.fuse.mastfs.8
share/man/man8/mount.mastfs.8
share/man/man8/umount.fuse.mastfs.8
""".split()


def needs(tool):
    return pytest.mark.skipif(not shutil.which(tool), reason="no " + tool)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The prefix, below a DESTDIR."""
    place = str(tmp_path_factory.mktemp("destdir"))
    lib.sh('meson install -C "$1" --no-rebuild --quiet --destdir "$2" 2>&1', lib.BUILD, place)
    return os.path.join(place, "usr/local")


def verbs():
    text = subprocess.run([lib.MASTFS, "help"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    found = re.findall(r"^  ([a-z]+) +\S", text, re.M)
    assert "mount" in found and len(found) >= 4
    return found


def test_meson_installs_this_and_nothing_else(installed):
    place = os.path.dirname(os.path.dirname(installed))
    found = sorted(os.path.join(folder, name) for folder, _, names in os.walk(place)
                   for name in names)
    assert [os.path.relpath(path, installed) for path in found] == INSTALLED
    for name in INSTALLED:
        path = os.path.join(installed, name)
        assert os.path.exists(path), "a link to nowhere: " + name
        if name.startswith("sbin/"):
            assert os.path.realpath(path) == os.path.join(installed, "bin/mastfs")
        want = 0o755 if "bin/" in name else 0o600 if name.endswith(".env") else 0o644
        assert stat.S_IMODE(os.stat(path).st_mode) == want, name


def test_example_environment_names_options_that_exist():
    """Those of mastfs, and the two that the unit reads."""
    with open(os.path.join(lib.TESTS, "..", "dist", "mastfs.env")) as f:
        text = f.read()
    found = re.findall(r"^#?MASTFS_([A-Z_]+)=", text, re.M)
    assert len(found) >= 5
    assert {n.lower() for n in found} - set(table()) == {"source", "mountpoint"}
    # Nothing in it counts until it is edited.
    assert re.findall(r"^[^#\n].*$", text, re.M) == []


# --- the unit ---

# Each gives the service mounts of its own (systemd.exec(5)).
NAMESPACE = """PrivateTmp PrivateDevices PrivateMounts PrivateUsers PrivateIPC ProtectSystem
ProtectHome ProtectKernelModules ProtectKernelTunables ProtectKernelLogs ProtectControlGroups
ProtectProc ProcSubset ProtectHostname DynamicUser RootDirectory RootImage MountFlags MountAPIVFS
ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths NoExecPaths BindPaths BindReadOnlyPaths
TemporaryFileSystem MountImages ExtensionImages LogNamespace""".split()


@pytest.fixture
def unit(folder):
    """A copy that names an executable that is there; the path of it."""
    with open(os.path.join(lib.BUILD, "dist", "mastfs@.service")) as f:
        text = f.read()
    text, n = re.subn(r"=/\S+/mastfs ", "=%s " % lib.MASTFS, text)
    assert n == 2
    path = os.path.join(folder, "mastfs@.service")
    lib.write(path, text.encode())
    return path


def verify(path):
    return subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@needs("systemd-analyze")
def test_systemd_has_nothing_against_the_unit(unit):
    done = verify(unit)
    assert (done.returncode, done.stdout) == (0, "")
    lib.write(unit, lib.read(unit).replace(b"[Install]", b"PrivateTpm=yes\n[Install]"))
    assert "PrivateTpm" in verify(unit).stdout, "systemd-analyze finds nothing at all"


def test_the_unit_has_no_mounts_of_its_own(folder):
    """A mount made there would be seen by nobody."""
    unit = Unit(folder, "x", {})
    assert {name for name, _ in unit.rows} & set(NAMESPACE) == set()
    assert len(unit.rows) > 20


# --- the manual ---

def section(page, name):
    return page.split("\n.SH %s\n" % name)[1].split("\n.SH ")[0]


def manual():
    with open(os.path.join(lib.BUILD, "dist", "mastfs.1")) as f:
        return f.read()


def test_manual_has_every_verb_and_every_option():
    page = manual()
    assert re.findall(r"^\.SS mastfs (\S+)$", section(page, "VERBS"), re.M) == verbs()
    options = re.findall(r"^\.TP\n\\fB([a-z_]+)\\fR", section(page, "OPTIONS"), re.M)
    assert sorted(options) == sorted(table())
    assert "@" not in re.sub(r"mastfs@|\.B mastfs@", "", page), "a placeholder is left"
    for name in ("SYNOPSIS", "CREDENTIALS"):
        assert len(section(page, name)) > 100


@needs("man")
@pytest.mark.parametrize("page", ["mastfs.1", "mount.mastfs.8"])
def test_manual_is_sound(installed, page):
    """troff has nothing to warn of, and what is typed is there to be read."""
    path = os.path.join(installed, "share/man", "man" + page[-1], page)
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-l", path], text=True,
                          env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
    for word in ("-o OPTION,..." if page[-1] == "8" else "-o OPTION[,...]", "umount"):
        assert word in text, text[:2000]


# --- completion ---

# As bash calls the function: the words are split at '=' and ':'.
COMPLETE = r"""
PATH=$(dirname "$1"):$PATH
. "$2"
compopt() { :; }
COMP_LINE=$3 COMP_POINT=${#3}
mapfile -t COMP_WORDS < <(printf '%s' "$3" | grep -oE '[=:]+|[^=: ]+')
[[ $3 == *[\ =:] && $3 != *[=:] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_mastfs mastfs
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(line, cwd=None):
    done = subprocess.run(["bash", "-uc", COMPLETE, "bash", lib.MASTFS,
                           os.path.join(lib.TESTS, "..", "dist", "mastfs.bash"), line],
                          text=True, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    return sorted(done.stdout.split())


def test_completion_has_every_verb_and_every_option():
    assert complete("mastfs ") == complete("mastfs help ") == sorted(verbs())
    assert complete("mastfs mo") == ["mount"]
    kinds = {n: "" if kind == "BOOL" else "=" for n, (kind, _) in table().items()}
    assert complete("mastfs mount -o ") == sorted(n + k for n, k in kinds.items())


@pytest.mark.parametrize("line,want", [
    ("mastfs mount -o ro,tt", ["ro,ttl="]),
    ("mastfs mount s3://b /m -o ro,ttl=5,allow_o", ["5,allow_other"]),
    ("mastfs mount -o upload=", ["background", "close"]),
    ("mastfs mount -o umask=022,log_level=e", ["error"]),
    ("mastfs mount -o uid=roo", ["root"]),
    ("mastfs umount -", ["-d", "-l", "-o"]),
    ("mastfs mount g", ["gs://"]),
    ("mastfs umount su", ["subdirectory"]),
    ("mastfs mount file:///su", []),
    ("mastfs help umount ", []),
])
def test_completion(folder, line, want):
    os.mkdir(os.path.join(folder, "subdirectory"))
    assert complete(line, folder) == want


def test_entrypoint_without_a_command():
    """An image made from the application's has forgotten its CMD: said before it mounts."""
    done = subprocess.run(["sh", os.path.join(os.path.dirname(lib.TESTS), "dist", "entrypoint.sh")], text=True, timeout=60,
                          stderr=subprocess.PIPE)
    assert done.returncode == 2 and "no command" in done.stderr, done.stderr
