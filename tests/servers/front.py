"""front.py - stands before a server and makes the way to it bad, for every connection.

  front = Front(server.port)             speaks plain TCP, or TLS if it is given certificates
  front.be("silent")                     from now on; connections that there are end
  front.be("good")

It is refuse (nobody listens), silent (taken, never answered), reset (on the first bytes),
mute (TLS whose handshake does not go on), slow (delay secs on the way, each way), capped
(rate bytes a second), or good.  With TLS: expired, wrong_host, self_signed, unknown_ca, old
(TLS 1.1 and nothing newer).  What a client sent to one that it should not trust is `leaked`.
"""
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def keep(port):
    """Nobody listens there, and no other server is given it meanwhile."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Certificates:
    """A CA that the client is to know, in ca; and what it is to refuse."""

    def __init__(self, folder):
        self.folder = str(folder)
        for ca in ("ca", "other_ca"):
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                    "/CN=" + ca, "-keyout", self.path(ca + ".key"), "-out", self.path(ca))
        self.ca = self.path("ca")
        self.issue("good", "ca", "IP:127.0.0.1")
        self.issue("wrong_host", "ca", "DNS:elsewhere.test")
        self.issue("unknown_ca", "other_ca", "IP:127.0.0.1")
        self.issue("expired", "ca", "IP:127.0.0.1", "-days", "-1")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", self.path("self_signed.key"), "-out", self.path("self_signed"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, ca, host, *days):
        request, ext = self.path(name + ".csr"), self.path(name + ".ext")
        with open(ext, "w") as f:
            f.write("subjectAltName=%s\n" % host)
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name,
                "-keyout", self.path(name + ".key"), "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.path(ca), "-CAkey",
                self.path(ca + ".key"), "-CAcreateserial", "-extfile", ext,
                "-out", self.path(name), *(days or ("-days", "30")))

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if name == "old":
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
            name = "good"
        context.load_cert_chain(self.path(name), self.path(name + ".key"))
        return context


class Front:
    def __init__(self, port, certificates=None):
        self.to, self.certificates = port, certificates
        self.lock, self.socks, self.taken, self.leaked = threading.Lock(), set(), 0, b""
        self.delay, self.rate = 0.2, 1 << 20
        self.mode, self.listener = "good", None
        self.listen(0)
        self.port = self.listener.getsockname()[1]
        self.url = "http%s://127.0.0.1:%d" % ("s" if certificates else "", self.port)

    def listen(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def be(self, mode, **settings):
        with self.lock:
            self.__dict__.update(settings)
            was, self.mode = self.mode, mode
            socks, self.socks = self.socks, set()
        if mode == "refuse" != was:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.kept = keep(self.port)
        elif was == "refuse" != mode:
            self.listen(self.port)
            self.kept.close()
        for sock in socks:
            hang_up(sock)

    def stop(self):
        self.be("refuse")
        self.kept.close()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                mode, self.taken = self.mode, self.taken + 1
                self.socks.add(sock)
            threading.Thread(target=self.serve, args=(sock, mode), daemon=True).start()

    def serve(self, sock, mode):
        try:
            if mode in ("silent", "mute"):
                while sock.recv(1 << 16):
                    pass
            elif mode == "reset":
                sock.recv(1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.relay(sock, mode)
        except OSError:
            pass
        finally:
            with self.lock:
                self.socks.discard(sock)
            sock.close()

    def relay(self, sock, mode):
        trusted = mode in ("good", "slow", "capped")
        if self.certificates:
            sock = self.certificates.context("good" if trusted else mode).wrap_socket(
                sock, server_side=True)
        if not trusted:
            self.leaked += sock.recv(1 << 16)
            return
        self.join(sock, self.to, mode)

    def join(self, sock, port, mode):
        with socket.create_connection(("127.0.0.1", port)) as up:
            with self.lock:
                self.socks |= {sock, up}
            back = threading.Thread(target=self.pump, args=(up, sock, mode), daemon=True)
            back.start()
            self.pump(sock, up, mode)
            back.join()
            with self.lock:
                self.socks -= {sock, up}

    def pump(self, source, sink, mode):
        """Until either end hangs up, and then both."""
        try:
            while data := source.recv(self.rate >> 7 if mode == "capped" else 1 << 16):
                if mode == "slow":
                    time.sleep(self.delay)
                elif mode == "capped":
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        except OSError:
            pass
        hang_up(sink)
        hang_up(source)


class Proxy(Front):
    """Where http_proxy and its like point: CONNECT to a port of this machine, each counted."""

    def __init__(self):
        self.tunnels = []
        super().__init__(0)

    def relay(self, sock, mode):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = sock.recv(1 << 12)
            if not piece:
                return
            head += piece
        method, where, _ = head.decode().split(" ", 2)
        self.tunnels.append((method, where))
        if method == "CONNECT":
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.join(sock, int(where.rsplit(":", 1)[1]), mode)


def hang_up(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Trap:
    """An address where nobody may come: connections to it are counted."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.visits = self.listener.getsockname()[1], []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(1)
            try:
                self.visits.append(sock.recv(4096))
            except OSError:
                self.visits.append(b"")
            sock.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
