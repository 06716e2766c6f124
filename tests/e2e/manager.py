"""manager.py - as much of a service manager as the tests need: systemd is not process 1 here.

A Manager has the socket of the readiness protocol; a Unit is a unit file with its lines run
as systemd would run them: specifiers, environment, words, capabilities, system calls.
"""
import ctypes
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess

import lib

READY, STOPPING = "READY=1", "STOPPING=1"


class Manager:
    """Each message is the list of its lines, and the pid it came from."""

    def __init__(self, folder, abstract=False):
        self.name = "@" + folder if abstract else os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + folder if abstract else self.name)
        self.env = {"NOTIFY_SOCKET": self.name}
        self.seen, self.pids = [], set()

    def poll(self):
        """Takes what has come, without waiting."""
        while True:
            try:
                text, more, _, _ = self.socket.recvmsg(65536, 1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self.seen
            self.seen.append(text.decode().split("\n"))
            for level, kind, data in more:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.pids.add(struct.unpack("3i", data)[0])

    def lines(self):
        return [line for message in self.poll() for line in message]

    def ready(self):
        return READY in self.lines()

    def value(self, name):
        """The last one of this name."""
        found = [line[len(name) + 1:] for line in self.lines() if line.startswith(name + "=")]
        return found[-1] if found else None

    def forget(self):
        self.poll()
        self.seen, self.pids = [], set()

    def stuff(self):
        """Until who writes to it must wait."""
        try:
            while True:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                    s.connect(self.socket.getsockname())
                    s.send(b"STATUS=full", socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass

    def close(self):
        self.socket.close()


class Unit:
    """dist/mastfs@.service as it is installed, for one instance."""

    def __init__(self, folder, instance, environment):
        """environment: the lines of its EnvironmentFile, as a dictionary."""
        self.folder, self.instance = folder, instance
        with open(os.path.join(lib.BUILD, "dist", "mastfs@.service")) as f:
            self.rows = re.findall(r"^([A-Za-z]+)=(.*)$", f.read(), re.M)
        self.state = os.path.join(folder, "state", self.of("StateDirectory"))
        os.makedirs(self.state, 0o700, exist_ok=True)
        self.env = {k: os.environ[k] for k in lib.KEPT_ENV if k in os.environ}
        for word in shlex.split(self.of("Environment")):
            name, _, value = word.partition("=")
            self.env[name] = value
        self.env.update(environment)

    def all(self, name):
        return [self.specifiers(value) for key, value in self.rows if key == name]

    def of(self, name):
        found = self.all(name)
        assert len(found) == 1, (name, found)
        return found[0]

    def specifiers(self, text):
        known = {"%i": self.instance, "%h": self.folder, "%%": "%",
                 "%S": os.path.join(self.folder, "state")}
        return re.sub(r"%.", lambda m: known[m[0]], text)

    def command(self, name):
        """$NAME is split into words and may be none; ${NAME} is a part of one."""
        words = []
        for word in self.of(name).split():
            if re.fullmatch(r"\$\w+", word):
                words += self.env.get(word[1:], "").split()
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda m: self.env.get(m[1], ""), word))
        assert os.path.basename(words[0]) == "mastfs"
        return [lib.MASTFS, *words[1:]]

    def start(self, manager, log, confine=False, env=None):
        before = self.confinement() if confine else []
        return subprocess.Popen([*before, *self.command("ExecStart")], stdout=log, stderr=log,
                                env={**self.env, **manager.env, **(env or {})},
                                preexec_fn=self.filter() if confine else None)

    def stop_post(self):
        return subprocess.run(self.command("ExecStopPost"), env=self.env, text=True,
                              timeout=120, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def confinement(self):
        """The capabilities that the unit leaves."""
        kept = ",".join("+" + c[len("CAP_"):].lower()
                        for c in self.of("CapabilityBoundingSet").split())
        assert self.of("NoNewPrivileges") == "yes"
        return ["setpriv", "--no-new-privs", "--bounding-set=-all," + kept]

    def system_calls(self):
        """Those of SystemCallFilter, as systemd resolves its sets; None where it is not here."""
        if not shutil.which("systemd-analyze"):
            return None
        sets, calls = self.of("SystemCallFilter").split(), set()
        while sets:
            name = sets.pop()
            if not name.startswith("@"):
                calls.add(name)
                continue
            text = lib.sh('systemd-analyze --no-pager syscall-filter "$1"', name)
            sets += re.findall(r"^    (\S+)$", text, re.M)
        return calls

    def filter(self):
        """What loads that filter in a process, or None."""
        try:
            seccomp = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            return None
        calls = self.system_calls()
        if not calls:
            return None
        seccomp.seccomp_init.restype = ctypes.c_void_p
        allow, refuse = 0x7fff0000, 0x00050000 | 1  # EPERM, as SystemCallErrorNumber has it
        ctx = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(refuse)))
        for name in calls:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                assert seccomp.seccomp_rule_add_array(
                    ctx, ctypes.c_uint32(allow), number, 0, None) == 0, name

        def load():
            if seccomp.seccomp_load(ctx):
                os._exit(99)
        return load
