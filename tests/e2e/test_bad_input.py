"""Bad input gets one line that names the thing, the operation and the cause, and loses nothing."""
import os
import subprocess

import pytest

import lib
from lib import write


def refuse(m, *names, args=None, env=None):
    """One line "mastfs: ...", non-zero, no mount; every name occurs in the line."""
    done = subprocess.run(args or m.command(), env={**m.env(), **(env or {})}, text=True,
                          timeout=120 * lib.SLOW, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    line = done.stderr
    assert done.returncode > 0, "exit %d, %r\n%s" % (done.returncode, line, m.tail())
    assert line.startswith("mastfs: ") and line.endswith("\n") and line.count("\n") == 1, \
        "not one line: %r" % line
    for name in names:
        assert name in line, "%r is not in %r" % (name, line)
    assert not lib.mounted(m.point)
    assert "testsecret" not in line
    return line


@pytest.mark.parametrize("option", ["no_such_option=1", "ttl=abc", "ttl=-1", "cache_size=12Q",
                                    "umask=999", "upload=sometimes", "uid=nobody-of-this-name"])
def test_option(local, mount, option):
    m = mount(local, start=False)
    name, _, value = option.partition("=")
    m.opts[name] = value
    refuse(m, name)


def test_unknown_argument_and_verb(local, mount):
    m = mount(local, start=False)
    refuse(m, "--frobnicate", args=[*m.command(), "--frobnicate"])
    refuse(m, "mounnt", args=[lib.MASTFS, "mounnt"])


def test_unknown_scheme(local, mount):
    m = mount(local, start=False)
    args = m.command()
    args[args.index(local.source)] = "ftp://host/dir"
    refuse(m, "ftp://host/dir", args=args)


def test_local_directory_missing(local, mount):
    local.source += "/none"
    m = mount(local, start=False)
    refuse(m, "/none", "no such directory")


def test_local_source_is_a_file(local, mount):
    local.put("f", b"")
    local.source += "/f"
    m = mount(local, start=False)
    refuse(m, "/f")


def test_bucket_missing(s3d, mount):
    s3d.source = "s3://no-such-bucket/x"
    m = mount(s3d, start=False)
    refuse(m, "no-such-bucket")


def test_wrong_key(s3d, mount):
    s3d.env["AWS_SECRET_ACCESS_KEY"] = "wrong"
    m = mount(s3d, start=False)
    refuse(m, "s3://test")


def test_unknown_access_key(s3d, mount):
    s3d.env["AWS_ACCESS_KEY_ID"] = "who"
    m = mount(s3d, start=False)
    refuse(m, "s3://test")


def test_no_credentials_is_not_anonymous(s3d, mount):
    """Anonymous only when asked for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del s3d.env[name]
    m = mount(s3d, start=False, env={"HOME": "/nonexistent"})
    refuse(m, "credentials")
    assert s3d.server.log() == []


def test_unreachable_endpoint(s3d, mount):
    port = lib.free_port()
    s3d.env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:%d" % port
    m = mount(s3d, start=False, require_backend="yes")
    refuse(m, str(port))


def test_endpoint_that_is_no_url(s3d, mount):
    s3d.env["AWS_ENDPOINT_URL"] = "not a url"
    m = mount(s3d, start=False)
    refuse(m, "not a url")


def test_config_file(local, mount, folder):
    m = mount(local, start=False, config=os.path.join(folder, "none.conf"))
    refuse(m, "none.conf", "No such file or directory")
    m.opts["config"] = path = os.path.join(folder, "bad.conf")
    write(path, b"ttl = 5\nno_such_option = 1\n")
    refuse(m, "bad.conf", "no_such_option")
    write(path, b"\x00\xff\n")
    refuse(m, "bad.conf")
    m.opts["config"] = folder
    refuse(m, folder)


def test_mount_point(local, mount):
    m = mount(local, start=False)
    args = m.command()
    where = args.index(m.point)
    args[where] = m.point + "/none"
    refuse(m, m.point + "/none", "No such file or directory", args=args)
    write(m.folder + "/file", b"")
    args[where] = m.folder + "/file"
    refuse(m, m.folder + "/file", "Not a directory", args=args)


def test_no_source(local, mount):
    m = mount(local, start=False)
    refuse(m, args=[lib.MASTFS, "mount", m.point])


def test_cache_directory_cannot_be_made(local, mount):
    m = mount(local, start=False, cache_dir="/proc/no/such/cache")
    refuse(m, "/proc/no/such/cache")


def test_no_fuse_device(local, mount):
    """A mount namespace of the test's own has another /dev."""
    m = mount(local, start=False)
    if os.getuid():
        pytest.skip("needs root")
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && '
            'mknod /dev/null c 1 3 && exec "$@"', "sh"]
    probe = subprocess.run([*hide, "true"], stderr=subprocess.DEVNULL)
    if probe.returncode:
        pytest.skip("cannot unshare")
    refuse(m, "/dev/fuse", args=[*hide, *m.command()])


def test_full_cache_disk(local, mount):
    m = mount(local, start=False)
    if os.getuid():
        pytest.skip("needs root")
    full = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && '
            'head -c 65536 /dev/zero > "$0/fill"; exec "$@"', m.folder + "/full"]
    os.mkdir(m.folder + "/full")
    if subprocess.run([*full, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("cannot unshare")
    m.opts["cache_dir"] = m.folder + "/full/cache"
    refuse(m, m.folder + "/full", args=[*full, *m.command()])


def test_secret_in_argv_is_refused(local, mount):
    """Secrets are never accepted where ps shows them."""
    m = mount(local, start=False)
    m.opts["secret_access_key"] = "abc"
    refuse(m, "secret_access_key")


def test_help_and_version(local, mount):
    m = mount(local, start=False)
    for arg in ("--help", "--version"):
        done = m.run(arg)
        assert done.returncode == 0 and done.stderr == "" and "mastfs" in done.stdout
    assert "cache_size" in m.run("mount", "--help").stdout + m.run("--help").stdout


def test_what_was_written_for_another_source_is_told(s3d, mount):
    """P3: a source that is spelled otherwise is another one, and goes on with nothing."""
    m = mount(s3d, upload="background")
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), b"bytes")
    m.kill()
    s3d.server.clear()
    first, s3d.source = s3d.source, s3d.source + "/below"
    m.mount()
    assert "1 files in it were written for another source, %s at " % first in m.log()
    assert not os.path.exists(m.path("f"))
    m.umount()
    s3d.source = first
    m.mount()
    assert m.log().count("another source") == 1
    m.umount()
    assert s3d.get("f") == b"bytes"
