"""As a service and from fstab: ready means that the mount answers, the end is announced, and
a dead mount does not stay.  systemd is not process 1 here: manager.py stands in for it, with
the unit file's own lines; mount(8) and umount(8) are the real ones."""
import os
import signal
import subprocess

import pytest

import lib
from lib import body, read, same, wait, write
from manager import READY, STOPPING, Manager, Unit

LEFT = 75
GRACE_S = 30
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root makes namespaces, or "
                                "gives up capabilities that it has")


@pytest.fixture
def manager(folder):
    m = Manager(folder)
    yield m
    m.close()


def notified(store, mount, manager, **opts):
    """Started, not waited for."""
    m = mount(store, start=False, env=manager.env, **opts)
    m.start()
    return m


def waiter_of(m):
    """The process that looks at the mount from outside: the daemon's command, not the daemon."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if read("/proc/%s/cmdline" % pid).split(b"\0")[3:4] == [m.point.encode()]:
                found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return [pid for pid in found if pid != m.process.pid]


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_once_the_mount_answers(s3d, mount, folder, abstract):
    """And not while the store is asked, nor when the mount is there and nobody has looked."""
    manager = Manager(folder, abstract)
    s3d.put("k", b"v")
    s3d.server.rule("status", status=503, code="SlowDown")
    m = notified(s3d, mount, manager)
    wait("the store is asked", lambda: s3d.server.log())
    wait("the one that waits", lambda: len(waiter_of(m)) == 1)
    assert manager.lines() == []
    (waiter,) = waiter_of(m)
    os.kill(waiter, signal.SIGSTOP)
    s3d.server.clear()
    wait("the mount", m.alive, 60)
    assert not manager.ready()
    os.kill(waiter, signal.SIGCONT)
    wait("READY", manager.ready)
    assert read(m.path("k")) == b"v"
    assert manager.pids == {m.process.pid}, "NotifyAccess=main hears the daemon alone"
    assert manager.value("STATUS") == "%s on %s" % (s3d.source, m.point)
    assert manager.lines().count(READY) == 1
    manager.close()


def test_no_ready_where_the_mount_fails(local, mount, manager):
    m = mount(local, start=False, env=manager.env)
    os.rmdir(local.root)
    m.start()
    assert m.process.wait(60) == 1
    m.process = None
    assert not lib.mounted(m.point)
    assert manager.lines() == []


def test_the_end_is_announced(s3d, mount, manager):
    """STOPPING, the time that the drain takes, and what is left."""
    m = notified(s3d, mount, manager, upload="background", drain="3s")
    wait("READY", manager.ready)
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), b"bytes")
    manager.forget()
    m.process.terminate()
    assert m.process.wait(60 * lib.SLOW) == LEFT
    m.process = None
    stopping = next(s for s in manager.poll() if STOPPING in s)
    assert "EXTEND_TIMEOUT_USEC=%d" % ((3 + GRACE_S) * 10**6) in stopping
    assert "STATUS=uploading what is left, for 3 s at most" in manager.lines()
    assert manager.value("STATUS").startswith("1 changes are not in the bucket yet")
    s3d.server.clear()
    m.mount()
    m.umount()
    assert s3d.get("f") == b"bytes"


def test_umount_from_outside_is_an_end_as_well(local, mount, manager):
    m = notified(local, mount, manager)
    wait("READY", manager.ready)
    m.umount()
    assert STOPPING in manager.lines()


def test_ended_before_anybody_is_answered(local, mount, manager):
    """The mount is there, and the manager that is told of it does not listen."""
    manager.stuff()
    m = notified(local, mount, manager)
    wait("the mount", lambda: lib.mounted(m.point), 60)
    m.process.terminate()
    assert m.process.wait(60 * lib.SLOW) == 0
    m.process = None
    assert not lib.mounted(m.point)


def test_the_wait_for_a_predecessor_is_announced(s3d, mount, manager):
    """Else a start that waits for uploads would be ended for taking long."""
    m = mount(s3d, upload="background", drain="1000s")
    first = m.process
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(m.path("f"), b"bytes")
    first.terminate()
    wait("the drain", lambda: read(os.path.join(m.cache, "lock")).startswith(b"draining"))
    m.extra_env = manager.env
    m.start()
    want = str((1000 + GRACE_S) * 10**6)
    wait("the announcement", lambda: manager.value("EXTEND_TIMEOUT_USEC") == want)
    assert not manager.ready()
    s3d.server.clear()
    wait("READY", manager.ready, 60)
    assert first.wait(60) == 0
    m.umount()
    assert s3d.get("f") == b"bytes"


def test_other_commands_are_not_the_service(s3d, mount, manager, folder):
    """What looks for keys is not told of the socket."""
    seen = os.path.join(folder, "environment")
    script = os.path.join(folder, "keys")
    write(script, ('#!/bin/sh\nenv >%s\necho \'{"Version":1,"AccessKeyId":"%s",'
                   '"SecretAccessKey":"%s"}\'\n' % (seen, s3d.env["AWS_ACCESS_KEY_ID"],
                                                   s3d.env["AWS_SECRET_ACCESS_KEY"])).encode())
    os.chmod(script, 0o755)
    config = os.path.join(folder, "config")
    write(config, ("[profile p]\ncredential_process = %s\n" % script).encode())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del s3d.env[name]
    m = mount(s3d, start=False, profile="p", env={"AWS_CONFIG_FILE": config, **manager.env})
    m.start()
    wait("READY", manager.ready)
    assert b"AWS_CONFIG_FILE" in read(seen) and b"NOTIFY_SOCKET" not in read(seen)


@pytest.mark.parametrize("name,said", [
    ("vsock:2:1", "not a Unix socket's name"), ("/" + "x" * 108, "not a Unix socket's name"),
    ("/nowhere/notify", "tell the service manager: No such file or directory")])
def test_a_manager_that_is_not_there(local, mount, name, said):
    """Costs a warning."""
    m = mount(local, env={"NOTIFY_SOCKET": name})
    wait(said, lambda: said in m.log())


def test_a_line_in_a_path_is_no_message(local, mount, manager, folder):
    m = mount(local, start=False, env=manager.env)
    m.point = os.path.join(folder, "a\nREADY=1")
    os.mkdir(m.point)
    m.start()
    wait("STATUS", lambda: manager.value("STATUS"))
    assert manager.value("STATUS").endswith("/a?READY=1")
    wait("READY", lambda: manager.poll() and manager.poll()[-1] == [READY])
    m.process.terminate()
    assert m.process.wait(60) == 0
    m.process = None


# --- umount ---

def test_umount_of_the_dead_only(local, mount):
    """A mount that lives, and that there is none, are no errors; nothing is said of them."""
    m = mount(local)
    args = ("umount", "-d", m.point)

    def run():
        done = m.run(*args)
        return done.returncode, done.stderr
    assert run() == (0, "") and m.alive()
    m.kill()
    status, said = run()
    assert status == 0 and "detached the mount of a dead daemon" in said
    assert not lib.mounted(m.point)
    assert run() == (0, "")
    os.rmdir(m.point)
    assert run() == (0, "")


def test_lazy_umount(s3d, mount):
    """It is gone at once; what is open goes on, and its bytes arrive."""
    m = mount(s3d)
    with open(m.path("f"), "wb") as f:
        f.write(b"one")
        f.flush()
        assert m.run("umount", m.point).returncode == 1, "in use"
        done = m.run("umount", "-l", m.point)
        assert (done.returncode, done.stderr) == (0, "")
        assert not lib.mounted(m.point)
        f.write(b"two")
    assert m.process.wait(60 * lib.SLOW) == 0
    m.process = None
    assert s3d.get("f") == b"onetwo"


# --- the unit file ---

class Service:
    def __init__(self, folder, manager, store, **env):
        self.point = os.path.join(folder, "a mount point")
        os.makedirs(self.point, exist_ok=True)
        self.manager = manager
        self.unit = Unit(folder, "x-y", {
            "MASTFS_SOURCE": store.source, "MASTFS_MOUNTPOINT": self.point, **store.env, **env})
        self.log = open(os.path.join(folder, "log"), "ab")
        self.process = None

    def start(self, **how):
        self.manager.forget()
        self.process = self.unit.start(self.manager, self.log, **how)
        wait("READY", lambda: self.manager.ready() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, read(self.log.name).decode()

    def path(self, name):
        return os.path.join(self.point, name)

    def stop(self):
        self.process.terminate()
        return self.process.wait(60 * lib.SLOW)

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL)
        self.log.close()


@pytest.fixture
def service(folder, manager):
    made = []

    def make(store, **env):
        made.append(Service(folder, manager, store, **env))
        return made[-1]
    yield make
    for s in made:
        s.clean()


def test_the_unit_over_a_crash(s3d, service):
    """Start, kill -9, what comes after that, start again: nothing is lost (P3)."""
    s = service(s3d, MASTFS_UPLOAD="background")
    s.start()
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(s.path("f"), body(100000, 1))
    s.process.kill()
    s.process.wait()
    assert lib.mounted(s.point)
    done = s.unit.stop_post()
    assert done.returncode == 0, done.stderr
    assert not lib.mounted(s.point)
    s3d.server.clear()
    s.start()
    same(read(s.path("f")), body(100000, 1))
    assert s.stop() == 0
    same(s3d.get("f"), body(100000, 1))
    done = s.unit.stop_post()
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(s.unit.state), "the cache is not where the unit has it"


def test_the_unit_knows_the_exit_status_and_the_times(s3d, service):
    """75 is the end that it was told to make; a stop may take longer than the drain."""
    s = service(s3d, MASTFS_UPLOAD="background", MASTFS_DRAIN="1s")
    s.start()
    s3d.server.rule("status", "PUT", status=503, code="SlowDown")
    write(s.path("f"), b"bytes")
    status = s.stop()
    assert str(status) in s.unit.of("SuccessExitStatus").split() and status == LEFT
    help_text = subprocess.run([lib.MASTFS, "help", "mount"], text=True, check=True,
                               stdout=subprocess.PIPE).stdout
    assert "how long unmounting waits for uploads (60s)" in help_text
    assert int(s.unit.of("TimeoutStopSec")) >= 60 + GRACE_S


def test_the_unit_without_a_source(local, service):
    """Then the application's variables name it."""
    local.put("k", b"v")
    s = service(local, MASTFS_SOURCE="", STORAGE_BACKEND="local", STORAGE_BUCKET=local.root)
    s.start()
    assert read(s.path("k")) == b"v"
    assert s.stop() == 0


def test_the_unit_and_a_source_with_a_blank(folder, service):
    """systemd cuts a word of the command at its blanks."""
    os.mkdir(os.path.join(folder, "with a blank"))
    store = lib.LocalStore(os.path.join(folder, "with a blank"))
    store.put("k", b"v")
    s = service(store)
    s.start()
    assert read(s.path("k")) == b"v"
    assert s.stop() == 0


@needs_root
@pytest.mark.skipif(bool(lib.SANITIZER), reason="a sanitizer needs more than the daemon")
def test_what_the_unit_leaves_is_enough(s3d, service):
    """Its capabilities and system calls: written, read past the daemon, uploaded; and another
    user's file, whose descriptor is copied and closed (numpy), goes up once."""
    s = service(s3d, MASTFS_ALLOW_OTHER="yes", MASTFS_UID="1001", MASTFS_GID="1001")
    s3d.put("big", body(3 << 20, 2))
    s.start(confine=True)
    status = read("/proc/%d/status" % s.process.pid).decode()
    bounding = next(int(line.split()[1], 16) for line in status.splitlines()
                    if line.startswith("CapBnd:"))
    assert bin(bounding).count("1") == len(s.unit.of("CapabilityBoundingSet").split())
    if s.unit.filter():
        assert "\nSeccomp:\t2\n" in status
    same(read(s.path("big")), body(3 << 20, 2))
    wait("it is here whole", lambda: os.getxattr(s.path("big"), "user.mastfs.io") == b"none")
    with open(s.path("big"), "rb") as f:
        same(f.read(), body(3 << 20, 2))
        inside = os.getxattr(s.path("big"), "user.mastfs.io")
    write(s.path("f.part"), body(20 << 20, 3))
    os.rename(s.path("f.part"), s.path("f"))
    os.mkdir(s.path("d"))
    os.rename(s.path("d"), s.path("e"))
    lib.sh("setpriv --reuid=1001 --regid=1001 --clear-groups "
           """/usr/bin/python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
for piece in b"a", b"b", b"c":
    os.write(fd, piece)
    os.close(os.dup(fd))
os.close(fd)' "$1" """, s.path("theirs"))
    assert len(s3d.server.commits(lib.PREFIX + "theirs")) == 1
    assert sorted(os.listdir(s.point)) == ["big", "e", "f", "theirs"]
    assert s.stop() == 0
    same(s3d.get("f"), body(20 << 20, 3))
    s.start()
    same(read(s.path("big")), body(3 << 20, 2))
    wait("it is closed", lambda: os.getxattr(s.path("big"), "user.mastfs.io") == b"none")
    with open(s.path("big"), "rb") as f:
        f.read()
        assert os.getxattr(s.path("big"), "user.mastfs.io") == inside, "without the unit"
    assert s.stop() == 0


# --- fstab ---

# In mounts and processes of its own, with the helpers in /sbin; what stays goes with them.
SANDBOX = r"""
set -eu
mkdir "$1/up" "$1/work"
for name in mount.mastfs mount.fuse.mastfs umount.fuse.mastfs; do
    ln -s "$MASTFS" "$1/up/$name"
done
mount -t overlay sbin -o lowerdir=/usr/sbin,upperdir="$1/up",workdir="$1/work" /usr/sbin
cd /
"""


@pytest.fixture
def fstab(request, folder):
    """fstab(m, options, script, type=): the script has fstab's line in $FSTAB, the mount point in
    $POINT."""
    def run(m, options, script, kind="fuse.mastfs", status=0):
        place = os.path.join(folder, "sandbox")
        os.makedirs(place)
        path = os.path.join(place, "fstab")
        write(path, ("%s %s %s %s 0 0\n" % (m.store.source, m.point, kind, options)).encode())
        env = {**m.env(), "MASTFS": lib.MASTFS, "POINT": m.point, "FSTAB": path,
               "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(["unshare", "-m", "--pid", "--fork", "--kill-child",
                               "--mount-proc", "setsid", "sh", "-c", SANDBOX + script, "sh",
                               place],
                              env=env, text=True, timeout=120 * lib.SLOW,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done
    return run


EVERYWHERE = "_netdev,nofail,noauto,x-systemd.automount,x-systemd.requires=network.target,user"


@needs_root
@pytest.mark.parametrize("kind", ["mastfs", "fuse.mastfs"])
def test_fstab(local, mount, fstab, kind):
    """Mounted by its line, both types, with the words that fstab lines have; mounted once."""
    local.put("k", b"v")
    m = mount(local, start=False)
    done = fstab(m, "%s,umask=027,cache_dir=%s" % (EVERYWHERE, m.cache), """
        mount -T "$FSTAB" "$POINT"
        cat "$POINT/k"
        stat -c ' %a' "$POINT/k"
        sed -i s/noauto,// "$FSTAB"
        mount -a -T "$FSTAB"
        findmnt -n -o SOURCE,FSTYPE "$POINT"
        umount "$POINT"
        ! mountpoint -q "$POINT"
    """, kind)
    assert done.stdout.split() == ["v", "640", local.source, "fuse.mastfs"]
    assert done.stderr == ""


@needs_root
@pytest.mark.parametrize("words,command", [("_netdev,", "umount"), ("", "umount -c")])
def test_umount_waits_for_what_was_written(s3d, mount, fstab, words, command):
    """umount(8) drains, as mastfs umount does: where the line has _netdev or another word that
    the kernel is not told, and always as systemd calls it (-c)."""
    m = mount(s3d, start=False)
    fstab(m, words + "upload=background,cache_dir=" + m.cache, """
        mount -T "$FSTAB" "$POINT"
        head -c 5000000 /dev/zero >"$POINT/f"
        %s "$POINT"
    """ % command)
    same(s3d.get("f"), bytes(5000000))


@needs_root
def test_umount_tells_what_is_left(s3d, mount, fstab):
    m = mount(s3d, start=False)
    s3d.server.rule("status", "PUT", key="(^|/)f$", status=503, code="SlowDown")
    done = fstab(m, "_netdev,upload=background,drain=1s,cache_dir=" + m.cache, """
        mount -T "$FSTAB" "$POINT"
        echo >"$POINT/f"
        umount "$POINT" && exit 1
        mountpoint -q "$POINT" && exit 1
        exit 0
    """)
    assert "1 changes are not in the bucket yet" in done.stderr


@needs_root
def test_umount_of_a_dead_mount(local, mount, fstab):
    m = mount(local, start=False)
    fstab(m, "cache_dir=" + m.cache, """
        mount -T "$FSTAB" "$POINT"
        kill -9 "$(getfattr --only-values -n user.mastfs.pid "$POINT" 2>/dev/null)"
        umount "$POINT" 2>/dev/null
        mount -T "$FSTAB" "$POINT"
        umount -l "$POINT"
    """)


@needs_root
@pytest.mark.parametrize("options,status,said", [
    ("no_such_option", 1, "no_such_option: unknown option"),
    ("log_file=/nowhere/log", 32, "open log_file /nowhere/log"),
    ("remount,ro", 1, "remount: unknown option"),
])
def test_what_mount_is_told_of_failures(local, mount, fstab, options, status, said):
    """mount(8)'s own statuses, one line, and nothing is mounted."""
    m = mount(local, start=False)
    done = fstab(m, options + ",cache_dir=" + m.cache, """
        status=0
        mount -T "$FSTAB" "$POINT" || status=$?
        ! mountpoint -q "$POINT"
        exit $status
    """, status=status)
    assert said in done.stderr and done.stderr.count("\n") == 1


@needs_root
@pytest.mark.skipif(not os.path.exists("/dev/autofs"), reason="the kernel has no autofs")
def test_where_an_automounter_waits(local, mount, fstab):
    """Whoever looks into the directory waits until it is mounted.  Only the automounter's own
    process group is let in, so the daemon may not leave that before; and outside of it nobody
    of ours may look."""
    local.put("k", b"v\n")
    m = mount(local, start=False)
    done = fstab(m, "_netdev,cache_dir=" + m.cache, """
        group=$(cut -d ' ' -f 5 /proc/$$/stat)
        mkfifo "$1/pipe"
        exec 9<>"$1/pipe"
        mount -it autofs autofs "$POINT" -o "fd=9,pgrp=$group,minproto=5,maxproto=5,direct"
        exec 8<"$POINT"
        setsid -w timeout -s KILL 60 mount -T "$FSTAB" "$POINT"
        umount "$POINT"
        setsid cat "$POINT/k" &
        token=$(/usr/bin/python3 -c 'import os, struct
print(struct.unpack_from("=2iI", os.read(9, 400))[2])')
        timeout --foreground -s KILL 60 mount -T "$FSTAB" "$POINT"
        /usr/bin/python3 -c 'import fcntl, sys
fcntl.ioctl(8, 0x9360, int(sys.argv[1]))  # AUTOFS_IOC_READY' "$token"
        wait
        umount "$POINT"
        findmnt -n -o FSTYPE "$POINT"
        umount -l "$POINT"
    """)
    assert done.stdout.split() == ["v", "autofs"]


@needs_root
def test_keys_of_fstab_are_root_s_own(s3d, mount, fstab):
    """A unit that is made of an fstab line has no HOME."""
    m = mount(s3d, start=False)
    home = os.path.join(m.folder, "home")
    os.makedirs(home + "/.aws")
    write(home + "/.aws/credentials", ("[default]\naws_access_key_id=%s\n"
          "aws_secret_access_key=%s\n" % (s3d.env.pop("AWS_ACCESS_KEY_ID"),
                                          s3d.env.pop("AWS_SECRET_ACCESS_KEY"))).encode())
    s3d.put("k", b"v")
    done = fstab(m, "endpoint=%s,cache_dir=%s" % (s3d.url, m.cache), r"""
        sed "s|^root:\(.*\):[^:]*:\([^:]*\)$|root:\1:%s:\2|" /etc/passwd >"$1/passwd"
        mount --bind "$1/passwd" /etc/passwd
        unset HOME
        mount -T "$FSTAB" "$POINT"
        cat "$POINT/k"
        umount "$POINT"
    """ % home)
    assert done.stdout == "v"
