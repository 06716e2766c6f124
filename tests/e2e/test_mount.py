"""Mounting and unmounting: where, by whom, with what, and what is refused."""
import errno
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import lib
from lib import body, fails, read, same, wait, write


@pytest.mark.short
@pytest.mark.stores("local", "s3d", "minio")
def test_mount_in_the_background_is_usable_when_it_returns(store, mount):
    store.put("a.fits", b"bytes")
    m = mount(store, start=False)
    done = subprocess.run(m.command(), env=m.env(), timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert lib.mounted(m.point)
        assert os.listdir(m.point) == ["a.fits"]
        assert read(m.path("a.fits")) == b"bytes"
    finally:
        done = m.run("umount", m.point)
    assert (done.returncode, done.stderr) == (0, "")
    assert not lib.mounted(m.point)


ALL_CLOSED = "<&- >&- 2>&-"


def closing(what):
    """Starts the command that follows without these descriptors."""
    return ["sh", "-c", 'exec "$@" ' + what, "sh"]


def test_a_daemon_without_standard_descriptors_logs_into_no_file(local, mount):
    """P1: the numbers below 3 are not given to files of ours, where the log would follow."""
    local.put("other", b"old")
    m = mount(local, user=closing(ALL_CLOSED))
    with open(m.path("f"), "wb", buffering=0) as f:
        f.write(body(1000))
        other = open(m.path("other"), "r+b", buffering=0)
        other.write(b"new")
        local.put("other", b"another's")
        fails(errno.ESTALE, other.close)  # which is logged
    same(local.get("f"), body(1000))
    assert [os.readlink("/proc/%d/fd/%d" % (m.process.pid, fd)) for fd in range(3)] == \
        ["/dev/null"] * 3


@pytest.mark.parametrize("what", ["<&-", ALL_CLOSED])
def test_a_mount_without_standard_descriptors(local, mount, what):
    """Its parent returns, and its cache directory stays locked (P3)."""
    m = mount(local, start=False, user=closing(what))
    other = mount(local, start=False)
    other.opts["cache_dir"] = m.cache
    try:
        subprocess.run(m.command(), env=m.env(), timeout=60 * lib.SLOW, check=True)
        assert "%s: another mastfs uses it" % m.cache in refusal(other)
    finally:
        done = m.run("umount", m.point)
    assert (done.returncode, done.stderr) == (0, "")


def test_umount_waits_for_what_was_written(s3d, mount):
    """P3: with upload=background the bucket has it all when umount returns."""
    m = mount(s3d, upload="background")
    data = {("f%d" % n): body(3 << 20, n) for n in range(4)}
    for name, content in data.items():
        write(m.path(name), content)
    m.umount()
    for name, content in data.items():
        same(s3d.get(name), content)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")
def test_umount_outlasts_a_glance(local, mount):
    """As of df: somebody has it for a moment, and by nothing that could be named."""
    m = mount(local)
    there, said = os.pipe()
    child = os.fork()
    if not child:
        os.chroot(m.point)
        os.write(said, b"1")
        time.sleep(0.5)
        os._exit(0)
    os.read(there, 1)
    m.umount()
    assert os.waitpid(child, 0)[1] == 0


def test_umount_waits_for_nobody_who_cannot_be_looked_at(local, mount):
    """P8: the kernel lets nobody read the links of a process that is in execve, which may wait
    for the daemon of another mount."""
    m, stuck = mount(local), mount(local)
    mine, its = socket.socketpair()
    child = os.fork()
    if not child:
        os.write(os.open(stuck.path("f"), os.O_WRONLY | os.O_CREAT), b"x")
        its.send(b"1")
        its.recv(1)
        os.execv("/bin/true", ["true"])  # closes it
    mine.recv(1)
    stuck.process.send_signal(signal.SIGSTOP)
    held = os.open(m.point, os.O_RDONLY)
    try:
        mine.send(b"1")
        wait("the execve", lambda: not read("/proc/%d/cmdline" % child))
        done = m.run("umount", m.point)
    finally:
        stuck.kill()
        os.close(held)
        os.waitpid(child, 0)
    assert done.returncode == 1 and "busy" in done.stderr


def test_umount_of_what_is_no_mount_says_so(local, mount, folder):
    m = mount(local, start=False)
    done = m.run("umount", m.point)
    assert done.returncode != 0
    assert one_line(done.stderr) and m.point in done.stderr


def one_line(text):
    return text.startswith("mastfs: ") and text.count("\n") == 1 and text.endswith("\n")


def refusal(m):
    """Mounting must fail with one line and leave nothing behind; returns the line."""
    before = lib.mounted(m.point)
    done = subprocess.run(m.command(), env=m.env(), timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode != 0, "it mounted: " + m.tail()
    assert one_line(done.stderr), repr(done.stderr)
    assert lib.mounted(m.point) == before
    return done.stderr


def test_source_and_options_from_the_environment(s3d, mount):
    """STORAGE_*, S3_ENDPOINT_URL and MASTFS_<OPTION>, as the application's documents have it."""
    s3d.put("k", b"v")
    m = mount(s3d, start=False)
    env = m.env()
    env.pop("AWS_ENDPOINT_URL")
    env.update(STORAGE_BACKEND="s3", STORAGE_BUCKET="test",
               STORAGE_PREFIX=lib.PREFIX.rstrip("/"), S3_ENDPOINT_URL=s3d.url,
               MASTFS_CACHE_DIR=m.cache, MASTFS_RO="1")
    done = subprocess.run([lib.MASTFS, "mount", m.point], env=env, timeout=120, text=True,
                          stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert read(m.path("k")) == b"v"
        fails(errno.EROFS, write, m.path("new"), b"")
        assert os.path.isdir(m.cache)
    finally:
        m.run("umount", m.point)


def test_local_backend_from_the_environment(local, mount):
    local.put("k", b"v")
    m = mount(local, start=False)
    env = dict(m.env(), STORAGE_BACKEND="local", STORAGE_BUCKET=local.root,
               MASTFS_CACHE_DIR=m.cache)
    done = subprocess.run([lib.MASTFS, "mount", m.point], env=env, timeout=120, text=True,
                          stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert read(m.path("k")) == b"v"
    finally:
        m.run("umount", m.point)


def test_options_from_a_config_file(local, mount, folder):
    """The command line wins over the environment, that over the file."""
    local.put("k", b"v")
    path = os.path.join(folder, "mastfs.conf")
    write(path, b"umask = 077\nro = true\n")
    m = mount(local, config=path)
    assert oct(os.stat(m.path("k")).st_mode & 0o777) == oct(0o600 & ~0o077)
    fails(errno.EROFS, write, m.path("new"), b"")


@pytest.mark.stores("local", "s3d")
def test_read_only_mount_changes_nothing(store, mount):
    """ro: EROFS at open, and not one request that writes; .download_state can be made to be."""
    store.put("d/k", b"v")
    m = mount(store, ro=True)
    for call in (lambda: write(m.path("d/k"), b"x"), lambda: write(m.path("new"), b"x"),
                 lambda: os.unlink(m.path("d/k")), lambda: os.mkdir(m.path("e")),
                 lambda: os.rename(m.path("d/k"), m.path("d/l"))):
        fails(errno.EROFS, call)
    assert read(m.path("d/k")) == b"v"
    assert store.files() == ["d/k"]
    if store.name == "s3d":
        assert {r["method"] for r in store.server.log()} <= {"GET", "HEAD"}


def test_owner_and_modes(local, mount):
    """uid, gid and umask: files 0644 and directories 0755 of the given owner by default."""
    local.put("d/f", b"x")
    m = mount(local, uid=1001, gid=1002, umask="027")
    for name, mode in (("", 0o750), ("d", 0o750), ("d/f", 0o640)):
        st = os.stat(m.path(name))
        assert (st.st_uid, st.st_gid, oct(st.st_mode & 0o777)) == (1001, 1002, oct(mode)), name


def test_allow_other_lets_another_user_write(local, mount):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    m = mount(local, allow_other=True, uid=65534, gid=65534)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c",
         'mkdir -p "$0/.download_state" && echo hello > "$0/f" && cat "$0/f"', m.point],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.stdout, done.stderr) == ("hello\n", "")
    assert local.get("f") == b"hello\n"


def test_ordinary_user_through_fusermount3(local, mount):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    if not os.access("/dev/fuse", os.W_OK) or os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        pytest.skip("/dev/fuse is not open to users here")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    m = mount(local, start=False, user=user, env={"HOME": "/nonexistent"})
    for place in (m.folder, m.point, local.root):
        os.chown(place, 65534, 65534)
    write(m.log_path, b"")
    m.mount()
    done = subprocess.run(user + ["sh", "-c", 'echo hello > "$0/f" && cat "$0/f"', m.point],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.stdout, done.stderr) == ("hello\n", "")
    assert local.get("f") == b"hello\n"
    done = subprocess.run(user + [lib.MASTFS, "umount", m.point], env=m.env(), timeout=60)
    assert done.returncode == 0
    assert m.process.wait(60) == 0


def test_stale_mount_is_replaced(local, mount):
    """ENOTCONN after a crash: detached, and mounted again."""
    local.put("k", b"v")
    m = mount(local)
    m.kill()
    fails(errno.ENOTCONN, os.listdir, m.point)
    m.process = None
    with open(m.log_path, "ab") as log:
        m.process = subprocess.Popen(m.command("-f"), env=m.env(), stdout=log, stderr=log,
                                     start_new_session=True)

    def alive():
        try:
            return read(m.path("k")) == b"v"
        except OSError:
            assert m.process.poll() is None, m.tail()
            return False
    wait("the new mount answers", alive)


def test_live_mount_is_refused(local, mount):
    local.put("k", b"v")
    m = mount(local)
    other = mount(local, start=False)
    other.point = m.point
    line = refusal(other)
    assert m.point in line, line
    assert read(m.path("k")) == b"v"
    other.point = os.path.join(other.folder, "mnt")


def test_cache_directory_in_use_is_refused(local, mount):
    m = mount(local)
    other = mount(local, start=False)
    other.opts["cache_dir"] = m.cache
    line = refusal(other)
    assert m.cache in line, line
    m.kill()
    m.force_out()
    other.mount()  # a dead daemon holds nothing


def test_cache_directory_inside_the_mount_is_refused(local, mount):
    m = mount(local, start=False, nonempty=True)
    m.opts["cache_dir"] = os.path.join(m.point, "cache")
    line = refusal(m)
    assert "cache" in line, line


def test_mount_point_must_be_an_empty_directory(local, mount):
    local.put("k", b"v")
    m = mount(local, start=False)
    write(m.path("there"), b"x")
    assert m.point in refusal(m)
    m.opts["nonempty"] = True
    m.mount()
    assert os.listdir(m.point) == ["k"]


def test_statfs_is_plausible(local, mount):
    """The application asks for 10 GB free; 0 would stop it."""
    m = mount(local)
    st = os.statvfs(m.point)
    assert st.f_bavail * st.f_frsize >= 10 << 30, st
    assert st.f_namemax == 255


def test_block_size_tells_programs_to_read_much(local, mount):
    local.put("k", b"v" * 10)
    m = mount(local)
    assert os.stat(m.path("k")).st_blksize >= 65536


def test_sigterm_unmounts_and_drains(s3d, mount):
    """L1: as umount does."""
    m = mount(s3d, upload="background")
    write(m.path("f"), b"x" * 100000)
    m.process.terminate()
    assert m.process.wait(60 * lib.SLOW) == 0, m.tail()
    assert not lib.mounted(m.point)
    same(s3d.get("f"), b"x" * 100000)
    m.process = None


def test_secrets_are_not_taken_from_argv_and_not_logged(s3d, mount):
    s3d.put("k", b"v")
    m = mount(s3d)
    assert read(m.path("k")) == b"v"
    m.umount()
    assert "testsecret" not in m.log()
    assert "Signature=" not in m.log()


def test_mount_is_quick(s3d, mount):
    """Not a bar, only a bound: a mount that takes 10 s is broken."""
    start = time.monotonic()
    mount(s3d)
    assert time.monotonic() - start < 10 * lib.SLOW
