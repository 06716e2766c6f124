"""The bench believes the shaper's log: requests, bytes and dependent rounds, and that of
so many requests as were asked for each so many are late."""
import http.client
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(TESTS, "bench"))
import link  # noqa: E402

SHAPER = os.path.join(os.environ.get("MASTFS_BUILD", ""), "tests", "tools", "shaper")
BODY = b"x" * 300000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def shaped(tmp_path):
    """Starts a shaper with these flags; the Link that reads its log."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    started = []

    def start(*flags):
        log = str(tmp_path / "log")
        process = subprocess.Popen([SHAPER, *flags, "-l", log, "0", str(server.server_port)],
                                   stdout=subprocess.PIPE, text=True)
        started.append(process)
        at = link.Link.__new__(link.Link)
        at.log, at.process = log, process
        at.port = int(process.stdout.readline().rsplit(":", 1)[1])
        return at

    yield start
    for process in started:
        process.kill()
        process.wait()
    server.shutdown()


def get(port, times):
    conn = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(times):
        conn.request("GET", "/object", headers={"Range": "bytes=5-9"})
        assert conn.getresponse().read() == BODY
    conn.close()


def answered(at, count):
    """All of the log, when count answers are over: the last one is with its connection."""
    for _ in range(500):
        found = list(at.between(0, float("inf")))
        if sum(r.end is not None for r in found) == count:
            return found
        threading.Event().wait(0.01)
    raise AssertionError("%d requests, %d answers" % (
        len(found), sum(r.end is not None for r in found)))


def test_each_answer_is_logged_with_its_bytes(shaped):
    at = shaped("-d", "1")
    get(at.port, 3)
    found = answered(at, 3)
    assert len(found) == 3
    assert {(r.method, r.target, r.span) for r in found} == {("GET", "/object", "bytes=5-9")}
    assert all(len(BODY) < r.sent < len(BODY) + 500 for r in found)
    assert all(r.data and r.size == r.sent for r in found)


def test_bytes_of_each_request_are_logged(shaped):
    at = shaped("-d", "1")
    conn = http.client.HTTPConnection("127.0.0.1", at.port)
    for size in (len(BODY), 5):
        conn.request("PUT", "/object", BODY[:size])
        conn.getresponse().read()
    conn.close()
    found = sorted(answered(at, 2), key=lambda r: r.start)
    assert [r.came // 1000 for r in found] == [len(BODY) // 1000, 0]


def test_rounds_are_those_that_wait_for_each_other(shaped):
    at = shaped("-d", "300")
    threads = [threading.Thread(target=get, args=(at.port, 2)) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert link.rounds(answered(at, 10)) == 2


def test_one_in_so_many_is_late(shaped):
    at = shaped("-s", "10:300:7")
    get(at.port, 30)
    assert sum(r.end - r.start >= 0.3 for r in answered(at, 30)) == 3
