"""mastfs doctor names what is wrong with the machine, the mount point, the cache directory and
what it is told, and nothing else.

Each test plants one misconfiguration and asks for the one finding: its check, how it stands,
and words of what was found or of the remedy.  Everything else must be well.
"""
import os
import shutil
import stat

import pytest

from doctoring import ambient, doctor, make, root  # noqa: F401
from lib import write

USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def by_user(m, *places):
    """Prepared for another user; what he may not do is told to be done before."""
    for place in (m.folder, m.point, *places):
        os.chown(place, 65534, 65534)
    m.env_fuse = m.folder + "/fuse"
    os.mknod(m.env_fuse, stat.S_IFCHR | 0o666, os.makedev(10, 229))
    os.chmod(m.env_fuse, 0o666)
    return "mount --bind %s /dev/fuse" % m.env_fuse


# --- the machine ---

def test_no_fuse(local, make):
    doctor(make(local), before="mount --bind /dev/null /dev/fuse").only(
        "fuse", "problem", "no /dev/fuse", "modprobe fuse", "--device /dev/fuse")


def test_fuse_is_closed_to_users(local, make):
    m = make(local)
    before = by_user(m, local.root)
    os.chmod(m.env_fuse, 0o600)
    doctor(m, before=before, run=USER).only("fuse", "problem", "chmod 666 /dev/fuse")


def test_user_may_not_allow_other(local, make):
    m = make(local, allow_other=True)
    before = by_user(m, local.root) + "\n: >%s/conf\nmount --bind %s/conf /etc/fuse.conf" % (
        m.folder, m.folder)
    doctor(m, before=before, run=USER).only(
        "allow_other", "problem", "echo user_allow_other | sudo tee -a /etc/fuse.conf")


@pytest.mark.parametrize("how, word", [("none", "apt-get install fuse3"), ("plain", "chmod u+s")])
def test_fusermount(local, make, how, word):
    m = make(local)
    before = by_user(m, local.root)
    os.mkdir(m.folder + "/bin")
    if how == "plain":
        shutil.copy(shutil.which("fusermount3"), m.folder + "/bin")
        os.chmod(m.folder + "/bin/fusermount3", 0o755)
    # Who has become another user may not look for programs in root's home.
    run = ["env", "PATH=%s/bin" % m.folder, shutil.which("setpriv"), *USER[1:]]
    doctor(m, before=before, run=run).only("fusermount", "problem", word)


def test_no_capability(local, make):
    run = ["setpriv", "--inh-caps", "-sys_admin", "--bounding-set", "-sys_admin"]
    found = doctor(make(local), run=run)
    wrong = {f["check"]: f for f in found.wrong()}
    assert wrong.pop("capabilities")["state"] == "problem"
    assert "--cap-add SYS_ADMIN" in found.named("capabilities")[0]["remedy"]
    assert wrong.pop("passthrough", {}).get("state") in ("warning", None)
    assert not wrong and found.status == 1


def test_pid_namespace(local, make):
    if "pid_namespace" in ambient():
        pytest.skip("so it is here, always")
    doctor(make(local), run=["unshare", "-p", "-f", "--propagation", "unchanged",
                                  "--mount-proc"]).only(
        "pid_namespace", "warning", "--pid=host")


@pytest.mark.parametrize("limit, state", [(256, "problem"), (2000, "warning")])
def test_open_files(local, make, limit, state):
    doctor(make(local), before="ulimit -n %d" % limit).only(
        "open_files", state, str(limit), "ulimit -Hn 65536")


# --- the mount point ---

def test_mountpoint_missing(local, make):
    m = make(local)
    os.rmdir(m.point)
    doctor(m).only("mountpoint", "problem", "mkdir -p " + m.point)
    os.mkdir(m.point)


def test_mountpoint_not_empty(local, make):
    m = make(local)
    write(m.path("there"), b"x")
    doctor(m).only("mountpoint", "problem", "not empty", "-o nonempty")


def test_mountpoint_dead(local, mount, make):
    """The mount of a daemon that was killed; the same, somewhere else, is told as well."""
    m = mount(local)
    m.kill()
    m.opts.update(cache_size="64M", staging_size="64M", cache_reserve="16M")
    doctor(m, keep=m.point).only("mountpoint", "problem", "stale", "mastfs umount " + m.point)
    doctor(make(local), keep=m.point).only("stale", "warning", "dead",
                                           "mastfs umount " + m.point)


def test_mounted_already(local, mount, make):
    """That it is mounted is no fault, but on a cache directory that another mount uses."""
    m = mount(local, cache_size="64M", staging_size="64M", cache_reserve="16M")
    found = doctor(m, keep=m.point)
    assert found.wrong() == [] and str(m.process.pid) in found.named("mountpoint")[0]["found"]
    other = make(local)
    other.opts["cache_dir"] = m.cache
    doctor(other, keep=m.point).only("cache_lock", "problem", "pid %d" % m.process.pid,
                                     "cache_dir=")


def test_private_parent(local, make):
    m = make(local)
    doctor(m, before="mount --make-rprivate /", env={"container": "test"}).only(
        "propagation", "warning", "private", ":rshared")


# --- the cache directory ---

def test_cache_of_another_owner(local, make):
    m = make(local)
    os.mkdir(m.cache, 0o700)
    os.chown(m.cache, 65534, 65534)
    doctor(m).only("cache", "problem", "another user", "chown", m.cache)


def test_cache_open_to_others(local, make):
    m = make(local)
    os.mkdir(m.cache)
    os.chmod(m.cache, 0o777)
    doctor(m).only("cache", "problem", "chmod 700 " + m.cache)


def on(m, kind):
    """Shell that lays this kind of file system over the cache directory."""
    os.mkdir(m.cache, 0o700)
    return {
        "tmpfs": "mount -t tmpfs -o mode=700 none %s",
        "overlayfs": "mount -t tmpfs none /mnt; mkdir /mnt/u /mnt/w /mnt/l; chmod 700 /mnt/u; "
                     "mount -t overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w none %s",
        "read-only": "mount --bind %s {0}; mount -o remount,bind,ro {0}".format(m.cache),
        "full": "truncate -s 32M {0}.ext4; mkfs.ext4 -q {0}.ext4; mount -o loop {0}.ext4 %s; "
                "head -c 64M /dev/zero >{0}/fill 2>/dev/null || :".format(m.cache),
    }[kind] % m.cache


@pytest.mark.parametrize("kind", ["tmpfs", "overlayfs"])
def test_cache_on(local, make, kind):
    m = make(local, cache_size="8M", staging_size="8M")
    doctor(m, before=on(m, kind)).only("cache_disk", "warning", kind, "cache_dir=")


def test_cache_read_only(local, make):
    m = make(local)
    doctor(m, before=on(m, "read-only")).only("cache", "problem", "Read-only", "cache_dir=")


def test_cache_full(local, make):
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("no loop devices")
    m = make(local)
    before = on(m, "full")
    m.opts["cache_dir"] = m.cache + "/below"
    doctor(m, before=before).only("cache_room", "problem", "full", "df -h")


def test_cache_with_changes_that_wait(local, make):
    m = make(local)
    os.mkdir(m.cache, 0o700)
    write(m.cache + "/lock", b"ended 99 3\na.fits\n")
    doctor(m).only("cache_lock", "warning", "3 changes", "mastfs mount " + local.source)


@pytest.mark.parametrize("source", [None, "s3://user:hunter2@bucket/prefix"])
def test_changes_that_wait_for_a_source_that_is_not_known(local, make, source):
    """None, or one that is refused as there is a secret in it."""
    m = make(local)
    os.mkdir(m.cache, 0o700)
    write(m.cache + "/lock", b"ended 99 3\na.fits\n")
    words = [source or "" if w == local.source else w for w in m.command()]
    m.command = lambda: [w for w in words if w]
    said = doctor(m)
    assert "hunter2" not in said.text
    found, = said.named("cache_lock")
    assert "mastfs mount SOURCE " in found["remedy"], said.text


def test_cache_smaller_than_asked(local, make):
    m = make(local, cache_size="500T")
    doctor(m).only("cache_room", "warning", "cache_size=")


def test_cache_inside_the_mount(local, make):
    m = make(local, nonempty=True)
    m.opts["cache_dir"] = m.path("cache")
    doctor(m).only("cache", "problem", "inside", "cache_dir=")


# --- what it is told ---

def test_unknown_option(local, make):
    doctor(make(local, cache_sise="1G")).only("options", "problem", "the nearest is cache_size",
                                              "mastfs help mount")


def test_config_file_unreadable(local, make):
    m = make(local)
    before = by_user(m, local.root)
    m.opts["config"] = path = m.folder + "/mastfs.conf"
    write(path, b"")
    os.chmod(path, 0o600)
    doctor(m, before=before, run=USER).only("options", "problem", "Permission denied",
                                            "ls -l " + path)


def test_no_source(local, make):
    m = make(local)
    local.source = "file:/"
    doctor(m).only("source", "problem", "not a URL", "mastfs help mount")


def test_secrets_open_to_others(s3d, make):
    m = make(s3d)
    path = m.folder + "/credentials"
    write(path, b"[default]\naws_access_key_id = testkey\naws_secret_access_key = testsecret\n")
    os.chmod(path, 0o644)
    env = {"AWS_SHARED_CREDENTIALS_FILE": path, "AWS_ACCESS_KEY_ID": "",
           "AWS_SECRET_ACCESS_KEY": ""}
    found = doctor(m, env=env)
    found.only("secrets", "warning", "chmod 600 " + path)
    assert "the profile in ~/.aws" in found.named("credentials")[0]["found"]


def test_ca_file_missing(s3d, make):
    doctor(make(s3d, ca_file="/nonexistent/ca.pem")).only("ca_file", "problem", "No such file",
                                                          "ls -l /nonexistent/ca.pem")


def test_log_file(local, make):
    doctor(make(local, log_file="/nonexistent/log")).only("log_file", "problem", "ls -ld")
