"""limits.py - what the link itself allows: curl in 16 ways, warm connections, LIST calls."""
import http.client
import os
import re
import selectors
import socket
import subprocess
import time
from urllib.parse import urlsplit

WAYS = 16


def curl(url, size, folder=None, ca_file=None):
    """Seconds of one curl with WAYS ranges at once, each over its own connection: to
    nowhere, or to files in folder."""
    step = -(-size // WAYS)
    args = ["curl", "-s", "-Z", "--parallel-immediate", "--parallel-max", str(WAYS)]
    files = [os.path.join(folder, "part%d" % n) if folder else "/dev/null"
             for n in range(WAYS)]
    for n in range(WAYS):
        end = min(size, (n + 1) * step) - 1
        args += (["--next", "-s"] if n else []) + [
            "-f", "-r", "%d-%d" % (n * step, end), "-o", files[n], "-w", "%{size_download}\n",
            *(["--cacert", ca_file] if ca_file else []), url]
    start = time.monotonic()
    done = subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    secs = time.monotonic() - start
    got = sum(int(n) for n in done.stdout.split())
    assert got == size, "curl had %d bytes of %d" % (got, size)
    if folder:
        for name in files:
            os.unlink(name)
    return secs


class Warm:
    """A connection that has been used.  One request at a time."""

    def __init__(self, url):
        at = urlsplit(url)
        self.request = "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%%d-%%d\r\n\r\n" % (
            (at.path + ("?" + at.query if at.query else "")).replace("%", "%%"), at.netloc)
        self.sock = socket.create_connection((at.hostname, at.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray(1 << 18)
        self.get(0, 1)

    def ask(self, off, size):
        self.head, self.left = b"", None
        self.sock.sendall((self.request % (off, off + size - 1)).encode())

    def take(self):
        """One recv; True when the answer is over."""
        n = self.sock.recv_into(self.buf)
        assert n, "the server closed a warm connection"
        if self.left is None:
            self.head += self.buf[:n]
            head, found, body = self.head.partition(b"\r\n\r\n")
            if not found:
                return False
            assert b" 206 " in head.split(b"\r\n")[0], head
            n, self.left = len(body), int(re.search(rb"(?i)\ncontent-length: *(\d+)", head)[1])
        self.left -= n
        return self.left == 0

    def get(self, off, size):
        """Seconds of one ranged GET."""
        start = time.monotonic()
        self.ask(off, size)
        while not self.take():
            pass
        return time.monotonic() - start

    def close(self):
        self.sock.close()


def warm_gets(url, offsets, size):
    """Seconds of as many GETs at once, each over a warm connection."""
    conns = [Warm(url) for _ in offsets]
    with selectors.DefaultSelector() as ready:
        start = time.monotonic()
        for conn, off in zip(conns, offsets):
            conn.ask(off, size)
            ready.register(conn.sock, selectors.EVENT_READ, conn)
        while ready.get_map():
            for key, _ in ready.select():
                if key.data.take():
                    ready.unregister(key.fileobj)
        secs = time.monotonic() - start
    for conn in conns:
        conn.close()
    return secs


def serial_list(port, bucket, prefix):
    """Seconds and keys of the bare LIST calls, one after the other on one connection."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    base = "/%s?delimiter=%%2F&encoding-type=url&list-type=2&prefix=%s" % (bucket, prefix)
    token, keys, start = "", 0, time.monotonic()
    while True:
        conn.request("GET", base + ("&continuation-token=" + token if token else ""))
        page = conn.getresponse().read()
        keys += page.count(b"<Key>")
        more = re.search(rb"<NextContinuationToken>(.*?)</", page)
        if not more:
            break
        token = more[1].decode()
    conn.close()
    return time.monotonic() - start, keys
