"""engine.py - a Docker engine of the tests' own, and containers of it.

The engine has its own socket and directories, so it meets no other one.  Its images are kept
with the tools: the base is a debootstrapped root, under the name that the Dockerfiles have.
"""
import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from lib import TESTS, mounted, wait  # noqa: E402

ROOT = os.path.dirname(TESTS)
TOOLS = os.environ.get("MASTFS_TOOLS") or os.path.expanduser("~/.cache/mastfs-tools")
SHARED = os.path.join(ROOT, "..", "shared", "tools", "replay.py")
DEBIAN = os.environ.get("MASTFS_DEBIAN_ROOT", "")
BASE, IMAGE, APP, ALONE = "debian:trixie-slim", "mastfs", "mastfs-test-app", "mastfs-test-one"
USER = "1001:1001"
DATA = "/app/data"
POINT = DATA + "/mast"
# Without a network of containers' own everything is in the host's, but for who needs none.
NETWORK = ("--network", "host")


def why_not():
    if os.geteuid() != 0:
        return "only root starts a Docker engine"
    for program in ("docker", "dockerd"):
        if not shutil.which(program):
            return "no %s (Debian's docker.io)" % program
    if not os.path.isdir(DEBIAN):
        return "no base for the image: MASTFS_DEBIAN_ROOT, run this by tests/run"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as err:
        return "/dev/fuse: " + err.strerror
    return ""


class NoEngine(Exception):
    """None can run here, whatever is installed."""


class Engine:
    def __init__(self):
        self.kept = os.path.join(TOOLS, "docker")
        os.makedirs(self.kept, exist_ok=True)
        self.lock = open(os.path.join(self.kept, "lock"), "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # images are one engine's
        self.folder = tempfile.mkdtemp(prefix="mastfs-docker-")
        os.chmod(self.folder, 0o755)
        self.socket = os.path.join(self.folder, "sock")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.folder, "DOCKER_BUILDKIT": "0",
                    "DOCKER_HOST": "unix://" + self.socket, "LC_ALL": "C.UTF-8",
                    "DOCKER_CONFIG": self.folder, "COMPOSE_PROJECT_NAME": "mastfstest"}
        self.process = self.below = None
        try:
            self.start()
        except AssertionError:
            # Killed last time, perhaps: what it kept can be made again.
            self.kill_all()
            for name in ("data", "containerd"):
                shutil.rmtree(os.path.join(self.kept, name), ignore_errors=True)
            try:
                self.start()
            except AssertionError as err:
                self.kill_all()
                raise NoEngine(str(err).strip().splitlines()[-1]) from None
        self.clear()

    def spawn(self, *command):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log,
                                    env={"PATH": os.environ["PATH"]}, start_new_session=True)

    def start(self):
        """As Debian does: what keeps the containers is a process of its own, that stays."""
        runtime = os.path.join(self.folder, "containerd")
        if not self.below:
            os.makedirs(runtime, exist_ok=True)
            with open(runtime + ".toml", "w") as f:
                f.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
            self.below = self.spawn(
                "containerd", "--config", runtime + ".toml", "--address", runtime + "/sock",
                "--state", runtime + "/state", "--root", os.path.join(self.kept, "containerd"))
            wait("what keeps containers", lambda: os.path.exists(runtime + "/sock"), 60)
        self.process = self.spawn(
            "dockerd", "--data-root", os.path.join(self.kept, "data"),
            "--containerd", runtime + "/sock", "--exec-root", os.path.join(self.folder, "exec"),
            "-H", "unix://" + self.socket, "--pidfile", os.path.join(self.folder, "pid"),
            "--iptables=false", "--bridge=none")
        wait("the engine answers", self.answers, 60)

    def answers(self):
        assert self.process.poll() is None, "dockerd ended:\n" + self.tail()
        return subprocess.run(["docker", "version"], env=self.env, capture_output=True,
                              check=False).returncode == 0

    def tail(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return f.read()[-3000:]

    def halt(self):
        """As a service manager stops it: its containers end first."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def kill_all(self):
        self.kill()
        if self.below:
            self.below.kill()
            self.below.wait()
            self.below = None

    def stop(self):
        if self.process.poll() is None:
            self.clear()
            self.halt()
        self.below.terminate()
        self.below.wait(60)
        for name in glob.glob(os.path.join(self.folder, "exec", "netns", "*")):
            subprocess.run(["umount", name], check=False)  # the engine leaves them mounted
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()

    def clear(self):
        """Nothing of another run's containers and volumes."""
        for what, listed in (("container", ["ps", "-aq"]), ("volume", ["volume", "ls", "-q"])):
            there = self.docker(*listed).split()
            if there:
                self.docker(what, "rm", "-f", *there)

    def run(self, *args, **kwargs):
        kwargs.setdefault("timeout", 300)
        env = {**self.env, **kwargs.pop("env", {})}
        return subprocess.run(args, env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, **kwargs)

    def docker(self, *args, status=0, **kwargs):
        done = self.run("docker", *args, **kwargs)
        assert done.returncode == status, "docker %s: %d\n%s%s" % (
            " ".join(args), done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def inspect(self, what, form="{{json .}}"):
        return json.loads(self.docker("inspect", "--format", form, what))

    # --- images ---

    def base(self):
        if not self.docker("images", "-q", BASE):
            tar = subprocess.Popen(["tar", "-C", DEBIAN, "-c", "."], stdout=subprocess.PIPE)
            self.docker("import", "-", BASE, stdin=tar.stdout)
            assert tar.wait() == 0

    def build(self, tag, *args):
        # Without the network option apt-get would reach nothing.
        return self.docker("build", *NETWORK, "-t", tag, *args)

    def images(self):
        """The Dockerfile's, its stage for building, and the application's stand-in."""
        self.base()
        self.build(IMAGE + "-build", "--target", "build", ROOT)  # tagged, so it is kept
        self.build(IMAGE, ROOT)
        self.build(APP, "-f", os.path.join(HERE, "app.Dockerfile"), HERE)
        self.docker("image", "prune", "-f")


class Share:
    """A directory of the host's that containers share mounts in: /app/data."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "share-" + uuid.uuid4().hex[:6])
        os.mkdir(self.path)
        # On hosts with a service manager "/" is shared, and everything below it.
        for command in (["mount", "--bind", self.path, self.path],
                        ["mount", "--make-shared", self.path]):
            subprocess.run(command, check=True)
        self.point = os.path.join(self.path, "mast")

    def mounts(self):
        """What is mounted below, in the host's table."""
        with open("/proc/self/mountinfo") as f:
            return [line.split()[4] for line in f if line.split()[4].startswith(self.path + "/")]

    def remove(self):
        for _ in range(8):
            if not self.mounts():
                break
            subprocess.run(["umount", "-l", self.mounts()[-1]], check=False)
        subprocess.run(["umount", "-l", self.path], check=False)
        assert not mounted(self.path)
        shutil.rmtree(self.path, ignore_errors=True)


class Container:
    def __init__(self, engine, name, volume=None):
        self.engine, self.name, self.volume = engine, name, volume

    def start(self):
        self.engine.docker("start", self.name)

    def state(self):
        return self.engine.inspect(self.name, "{{json .State}}")

    def kill(self, signal_name="KILL"):
        self.engine.docker("kill", "-s", signal_name, self.name)

    def stop(self, secs=120):
        self.engine.docker("stop", "-t", str(secs), self.name)
        return self.state()["ExitCode"]

    def remove(self):
        self.engine.docker("rm", "-f", self.name)

    def logs(self):
        done = self.engine.run("docker", "logs", self.name)
        return done.stdout + done.stderr

    def ended(self, secs=150):
        """Its exit status, once it has ended by itself."""
        return int(self.engine.docker("wait", self.name, timeout=secs))

    def holder(self):
        """What the volume's lock file says."""
        folder = self.engine.inspect(self.volume, "{{json .Mountpoint}}")
        with open(os.path.join(folder, "lock")) as f:
            return f.readline().split()[0]

    def exec(self, *args, user=None, status=0, **kwargs):
        return self.engine.docker("exec", *(["-u", user] if user else []), self.name, *args,
                                  status=status, **kwargs)


class Daemon(Container):
    """mastfs in a container, as compose.yaml has it."""

    def __init__(self, engine, store, share, volume=None, pid_host=True, more=(), env=None,
                 command=()):
        super().__init__(engine, "mastfs-" + uuid.uuid4().hex[:8],
                         volume or "cache-" + uuid.uuid4().hex[:8])
        self.store, self.share, self.pid_host = store, share, pid_host
        # As compose.yaml has them; without tests of its own this would be no test of that.
        given = {"MASTFS_SOURCE": store.source, **store.env, **(env or {})}
        given = {k: v for k, v in given.items() if v is not None}
        self.args = [
            "run", "-d", "--name", self.name, *NETWORK, "--device", "/dev/fuse",
            "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor:unconfined",
            *(("--pid", "host") if pid_host else ()),
            "-v", "%s:%s:rshared" % (share.path, DATA),
            "-v", self.volume + ":/var/cache/mastfs",
            *(word for k, v in sorted(given.items()) for word in ("-e", "%s=%s" % (k, v))),
            *more, IMAGE, *command]

    def run(self):
        self.engine.docker(*self.args)
        return self

    def up(self):
        return self.run().ready()

    def ready(self, secs=60):
        wait("the mount", self.mounted_or_dead, secs)
        assert self.state()["Running"], self.logs()
        return self

    def mounted_or_dead(self):
        try:
            if mounted(self.share.point) and os.statvfs(self.share.point):
                return True
        except OSError:
            pass
        return not self.state()["Running"]

    def healthy(self):
        return self.state()["Health"]["Status"] == "healthy"

    def pid(self):
        """The daemon's own, on the host: the container's first process, or where that is
        process 1 its first child (the second one only waits for the mount to answer)."""
        first = self.state()["Pid"]
        if self.pid_host:
            return first
        with open("/proc/%d/task/%d/children" % (first, first)) as f:
            return int(f.read().split()[0])




class App(Container):
    """The application's stand-in, as uid 1001, with the mount by rslave."""

    def __init__(self, engine, share, more=()):
        super().__init__(engine, "app-" + uuid.uuid4().hex[:8])
        # Of the sources only what the programs below need.
        engine.docker("run", "-d", "--name", self.name, "--user", USER,
                      "--stop-timeout", "1", "--network", "none", "-v", "%s:%s:rslave" % (share.path, DATA),
                      "-v", TESTS + ":/tests:ro", "-e", "PYTHONDONTWRITEBYTECODE=1",
                      "-e", "PYTHONPATH=/tests/docker:/tests/e2e:/tests/tools",
                      *more, APP, "sleep", "infinity")

    def python(self, code, *args, status=0, **kwargs):
        return self.exec("python3", "-c", code, *args, status=status, **kwargs)

    def begin(self, code, *args):
        """A program that goes on; its output is a pipe."""
        return subprocess.Popen(
            ["docker", "exec", "-i", self.name, "python3", "-u", "-c", code, *args],
            env=self.engine.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)


def seconds(function, *args):
    start = time.monotonic()
    function(*args)
    return time.monotonic() - start


if __name__ == "__main__":
    # The images, early, for the tests that will want them.
    ready = Engine()
    try:
        ready.images()
    finally:
        ready.stop()
