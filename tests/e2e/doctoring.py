"""doctoring.py - runs mastfs doctor over what a test has planted, and reads what it says.

The examination runs in a mount namespace of its own, without the dead mounts that others
have left, and whose mounts are shared, as on a machine that boots with systemd.
"""
import json
import os
import re
import subprocess
import time

import pytest

import lib
from lib import read

# Without its copies of other mounts: their daemons would not end while it is there.
OVER = """mount --make-rprivate /
awk -v keep="$KEEP" '/ - fuse.mastfs / && $5 != keep {print $5}' /proc/self/mountinfo >/tmp/list.$$
while read -r at; do umount -l "$(printf %b "$at")"; done </tmp/list.$$
rm /tmp/list.$$
mount --make-rshared /
"""


def ambient():
    """What is not as well as can be on the machine of the tests, whatever is planted."""
    found = {"cache_speed", "latency"}  # of a machine that is busy
    if os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        found.add("pid_namespace")
    kernel = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()
    if tuple(map(int, kernel)) < (6, 9) or \
            read("/proc/self/uid_map").split()[2] != b"4294967295":
        found.add("passthrough")
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/tmp"], stdout=subprocess.PIPE, text=True)
    if kind.stdout.strip() in ("overlayfs", "tmpfs"):
        found.add("cache_disk")
    return found


@pytest.fixture(autouse=True)
def root():
    if os.getuid() or subprocess.run(["unshare", "-m", "true"],
                                     stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root and unshare")


class Result:
    def __init__(self, done):
        assert "testsecret" not in done.stdout + done.stderr
        assert done.stderr == "", done.stderr
        self.status, self.text = done.returncode, done.stdout
        report = json.loads(done.stdout)
        self.state, self.findings = report["state"], report["checks"]

    def named(self, check):
        return [f for f in self.findings if f["check"] == check]

    def wrong(self, asked=None):
        """asked: a check that is told of also where the machine has that by itself."""
        return [f for f in self.findings if f["state"] in ("warning", "problem")
                and not (f["state"] == "warning" and f["check"] in ambient() - {asked})]

    def only(self, check, state, *words):
        """This finding, and no other that is not well."""
        wrong = self.wrong(check)
        assert [(f["check"], f["state"]) for f in wrong] == [(check, state)], \
            "\n".join(map(str, wrong)) or self.text
        for word in words:
            assert word in wrong[0]["found"] + " | " + wrong[0]["remedy"], wrong[0]
        assert (self.state, self.status) == (state, {"problem": 1, "warning": 3}[state])
        return wrong[0]


def doctor(m, *more, before="", keep="", run=(), env=None, secs=60):
    """before: shell, in the namespace; run: the command that runs it."""
    command = m.command(*more)
    command[command.index("mount")] = "doctor"
    script = "set -e\n" + OVER + before + '\nexec "$@"'
    started = time.monotonic()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *run, *command, "--json"],
        env={**m.env(), "KEEP": keep, **(env or {})}, text=True, timeout=120 * lib.SLOW,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert time.monotonic() - started < secs * lib.SLOW
    return Result(done)


@pytest.fixture
def make(mount):
    """A mount that would be well, not mounted."""
    def made(store, **opts):
        small = {"cache_size": "64M", "staging_size": "64M", "cache_reserve": "16M", **opts}
        return mount(store, start=False, env={"HOME": "/nonexistent"}, **small)
    return made
