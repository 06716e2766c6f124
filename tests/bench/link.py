"""link.py - a link of known delay and speed in front of an origin, and what it saw.

lan is the origin's own port: no program in between, so nothing is counted there.  The
others are ../shared/tools/slowlink.c where that is at hand and times are all that a row
wants, else tests/tools/shaper.c, which also logs bytes sent, and can delay some requests.
Both have the same timing model; slowlink's bytes are those that the ranges ask for.
"""
import os
import re
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOWLINK = os.path.join(ROOT, "..", "shared", "tools", "slowlink.c")
FLAGS = {
    "wan": ("-d", "30", "-r", "55"),
    "wan200": ("-d", "30", "-r", "55", "-t", "200"),
    "wan200 late": ("-d", "30", "-r", "55", "-t", "200", "-s", "2:500:7"),
    "pages": ("-d", "30"),
}
NO_DATA = re.compile(r"[?&](list-type|location|prefix|comp|restype|uploads|acl|policy)\b")


class Request:
    """One line of a request, its time and, if they are known, the answer's end and the bytes
    of both."""

    def __init__(self, start, method, target, span):
        self.start, self.method, self.target, self.span = start, method, target, span
        self.end, self.sent, self.came = None, None, None

    @property
    def data(self):
        return self.method == "GET" and not NO_DATA.search(self.target)

    @property
    def size(self):
        if self.sent is not None:
            return self.sent
        found = re.search(r"(\d+)-(\d+)", self.span)
        return int(found[2]) - int(found[1]) + 1 if found and self.data else 0


def rounds(requests):
    """The longest chain of requests each of which began when the one before had ended."""
    ends = []  # ends[i]: the earliest end of a chain of i + 1 requests
    for r in sorted(requests, key=lambda r: r.start):
        length = sum(end <= r.start for end in ends)
        end = r.end if r.end is not None else r.start
        if length == len(ends):
            ends.append(end)
        else:
            ends[length] = min(ends[length], end)
    return len(ends)


class Lan:
    program = "none"

    def __init__(self, port):
        self.port = port

    def between(self, _start, _end):
        return None

    def stop(self):
        pass


class Link:
    def __init__(self, name, folder, build, server_port, counted):
        self.program, program = "shaper", os.path.join(build, "tests", "tools", "shaper")
        if not counted and os.path.exists(SLOWLINK):
            self.program, program = "slowlink", os.path.join(folder, "slowlink")
            if not os.path.exists(program):
                subprocess.run(["cc", "-O2", "-pthread", "-o", program, SLOWLINK], check=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = os.path.join(folder, "link%d.log" % self.port)
        self.process = subprocess.Popen(
            [program, *FLAGS[name], "-l", self.log, str(self.port), str(server_port)],
            stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self.listens():
            if time.monotonic() > deadline:
                raise RuntimeError("%s does not listen" % program)
            time.sleep(0.02)

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def lines(self):
        """slowlink writes TIME LINE RANGE, shaper B NUMBER TIME LINE RANGE and E lines."""
        found = {}
        with open(self.log, errors="replace") as f:
            for n, line in enumerate(f):
                words = line.split()
                if words[0] == "E" and words[1] in found:
                    found[words[1]].end = float(words[2])
                    found[words[1]].sent = int(words[3])
                    found[words[1]].came = int(words[4])
                    continue
                key, words = (words[1], words[2:]) if words[0] == "B" else (n, words)
                found[key] = Request(float(words[0]), words[1], words[2], words[4])
        return found.values()

    def between(self, start, end):
        """The requests that came in this time, of the monotonic clock."""
        return [r for r in self.lines() if start <= r.start <= end]

    def stop(self):
        self.process.kill()
        self.process.wait()


def make(name, folder, build, server_port, counted):
    if name == "lan":
        return Lan(server_port)
    return Link(name, folder, build, server_port, counted)
