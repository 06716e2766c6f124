"""limits.py - what the link itself allows: curl in 16 ways, warm connections, LIST calls,
and the bare uploads, whose URLs are signed before the clock starts."""
import http.client
import os
import re
import selectors
import socket
import subprocess
import time
from urllib.parse import urlsplit

WAYS = 16
PART = 8 << 20


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


def ask(method, url, body=b""):
    """Seconds and answer of one request over a new connection."""
    at = urlsplit(url)
    conn = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    start = time.monotonic()
    conn.request(method, "%s?%s" % (at.path, at.query), body)
    answer = conn.getresponse().read()
    secs = time.monotonic() - start
    conn.close()
    return secs, answer


def curl_puts(files_urls, folder):
    """Seconds of one curl that sends each file to its URL, WAYS at once; the ETags."""
    lines = []
    for n, (name, url) in enumerate(files_urls):
        # Waiting to be asked for each body costs it a round trip.
        lines += (["next"] if n else []) + [
            'url = "%s"' % url, 'upload-file = "%s"' % name, 'header = "Expect:"',
            'output = "/dev/null"', 'dump-header = "%s/head%d"' % (folder, n), "fail", "silent"]
    args = ["curl", "-Z", "--parallel-immediate", "--parallel-max", str(WAYS), "-s", "-K", "-"]
    start = time.monotonic()
    subprocess.run(args, check=True, input="\n".join(lines).encode(), stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    secs, tags = time.monotonic() - start, []
    for n in range(len(files_urls)):
        with open("%s/head%d" % (folder, n)) as f:
            head = f.read()
        assert re.match(r"HTTP/\S+ 200", head), head
        tags.append(re.search(r"(?i)\netag: *(\S+)", head)[1])
        os.unlink("%s/head%d" % (folder, n))
    return secs, tags


def multipart(sign, local, folder):
    """Seconds of begin, the parts WAYS at once, and the finish.  sign(operation, **params)
    gives a URL; what signing takes does not count."""
    names, size = [], os.path.getsize(local)
    with open(local, "rb") as f:
        for n in range(-(-size // PART)):
            names.append("%s/part%d" % (folder, n))
            with open(names[n], "wb") as out:
                out.write(f.read(PART))
    begin, answer = ask("POST", sign("create_multipart_upload"))
    found = re.search(rb"<UploadId>(.*?)</", answer)
    assert found, answer
    upload = found[1].decode()
    parts, tags = curl_puts([(name, sign("upload_part", UploadId=upload, PartNumber=n))
                             for n, name in enumerate(names, 1)], folder)
    listed = "".join("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (n, tag)
                     for n, tag in enumerate(tags, 1))
    finish, answer = ask("POST", sign("complete_multipart_upload", UploadId=upload),
                         "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % listed)
    assert b"CompleteMultipartUploadResult" in answer, answer
    for name in names:
        os.unlink(name)
    return begin + parts + finish


class WarmPut:
    """A connection that has been used, and PUTs signed for it."""

    def __init__(self, urls):
        at = urlsplit(urls[0])
        self.urls, self.conn = urls, http.client.HTTPConnection(at.hostname, at.port, timeout=60)
        self.conn.connect()
        self.conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.put(0, b"")

    def put(self, n, data):
        """Seconds of one PUT, sent in one piece."""
        at = urlsplit(self.urls[n])
        start = time.monotonic()
        self.conn.request("PUT", "%s?%s" % (at.path, at.query), data)
        answer = self.conn.getresponse()
        body = answer.read()
        secs = time.monotonic() - start
        assert answer.status == 200, body
        return secs
