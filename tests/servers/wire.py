"""wire.py - puts an answer on a socket, byte for byte as an act wants it.

Acts of this stage (act.kind); what they do to the bytes is legal HTTP or not, as it comes:
  reset       RST before any answer          silent      wait act.secs, say nothing, hang up
  drop_reply  do it, then hang up without an answer
  close_at    hang up after act.at bytes of body; "rst": true resets
  cut_head    the same, after act.at bytes of the status line and headers
  stall       send act.at bytes of body, wait act.secs, go on
  delay       wait act.secs, then answer
  drip        one byte every act.secs of the act.part "head" or "body"
  raw         act.text (latin-1) in the place of the whole answer, then hang up
  early       act.status and act.code before the body of the request was read; hang up
  head        other headers: act.set {name: value}, act.drop [name], act.add [line as it is]
The last one and any other may also have
  http        "HTTP/1.0" in the place of HTTP/1.1
  framing     "close" (no length: the end is where the connection ends) or "chunked"; with
              "at", the body ends there, which is where the connection ends as well
"""
import os
import socket
import struct
import time
from functools import lru_cache

WORDS = {100: "Continue", 200: "OK", 204: "No Content", 206: "Partial Content",
         301: "Moved Permanently", 304: "Not Modified", 307: "Temporary Redirect",
         308: "Resume Incomplete", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
         404: "Not Found", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
         411: "Length Required", 412: "Precondition Failed", 416: "Range Not Satisfiable",
         429: "Too Many Requests", 499: "Client Closed Request",
         500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
         504: "Gateway Timeout"}
UNANSWERED = ("reset", "silent")  # nothing is done for these
SMALL = 64 << 10
CUTS = UNANSWERED + ("drop_reply", "close_at", "cut_head", "raw", "early")


class Gone(Exception):
    """The connection is over."""


def http_date(secs=None):
    """As email.utils.formatdate, whose import takes longer than the rest of a server's start."""
    return date_of(int(time.time() if secs is None else secs))


@lru_cache(1024)
def date_of(secs):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(secs))


def ends(act):
    """Is the connection over after this?"""
    return (act.get("kind") in CUTS or act.get("framing") == "close"
            or "at" in act and "framing" in act or act.get("http") == "HTTP/1.0")


def abandon(sock, act):
    if act.get("kind") == "reset" or act.get("rst"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        try:  # libcurl sees a FIN, also when it has not sent all of its body
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    sock.close()


def head(reply, act, name, extra):
    headers = {"Date": http_date(), "Server": name,
               "Content-Length": str(reply.size), **extra, **reply.headers}
    framing = act.get("framing")
    if reply.status in (204, 304) or framing:
        headers.pop("Content-Length")
    if framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    if act.get("kind") == "head":
        for gone in act.get("drop", ()):
            headers.pop(gone, None)
        headers.update(act.get("set", {}))
    lines = ["%s %d %s" % (act.get("http", "HTTP/1.1"), reply.status,
                           WORDS.get(reply.status, "Other"))]
    lines += ["%s: %s" % h for h in headers.items()]
    lines += act.get("add", ()) if act.get("kind") == "head" else ()
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def drip(sock, data, secs):
    for n in range(len(data)):
        sock.sendall(data[n:n + 1])
        time.sleep(secs)


def hold(act):
    """Before the first byte."""
    if act.get("kind") == "delay":
        time.sleep(act["secs"])


def send(sock, req, reply, act, name, extra):
    """Returns how many bytes of body went out."""
    kind, data = act.get("kind"), head(reply, act, name, extra)
    if kind == "drop_reply":
        return 0
    if kind == "raw":
        sock.sendall(act["text"].encode("latin-1"))
        return 0
    if kind == "cut_head":
        sock.sendall(data[:act["at"]])
        return 0
    size = 0 if req.method == "HEAD" else reply.size
    if not act and size <= SMALL:  # at once: a client that waits is woken once
        sock.sendall(data + reply.bytes() if size else data)
        return size
    if kind == "drip" and act["part"] == "head":
        drip(sock, data, act["secs"])
    else:
        sock.sendall(data)
    return send_body(sock, reply, act) if size else 0


def send_body(sock, reply, act):
    kind, size = act.get("kind"), reply.size
    at = min(act.get("at", size), size)
    if kind == "stall":
        span(sock, reply.body, 0, at)
        time.sleep(act["secs"])
        span(sock, reply.body, at, size - at)
    elif kind == "drip" and act["part"] == "body":
        drip(sock, reply.bytes(), act["secs"])
    elif act.get("framing") == "chunked":
        return send_chunks(sock, reply, at, act)
    elif kind == "close_at" or "framing" in act:
        span(sock, reply.body, 0, at)
        return at
    else:
        span(sock, reply.body, 0, size)
    return size


def send_chunks(sock, reply, at, act):
    """In two chunks, of which the last is announced whole and cut."""
    half = at // 2
    for start, end in ((0, half), (half, reply.size)):
        sock.sendall(b"%x\r\n" % (end - start))
        span(sock, reply.body, start, min(end, at) - start)
        if min(end, at) < end:
            return at
        sock.sendall(b"\r\n")
    sock.sendall(b"" if act.get("no_end") else b"0\r\n\r\n")
    return reply.size


def span(sock, body, off, size):
    if not size:
        return
    if isinstance(body, tuple) and body[0].file:
        off += body[1]
        while size:
            n = os.sendfile(sock.fileno(), body[0].file.fileno(), off, size)
            if not n:
                raise Gone
            off, size = off + n, size - n
    elif isinstance(body, tuple):
        start = body[1] + off
        sock.sendall(memoryview(body[0].parts[0])[start:start + size])
    else:
        sock.sendall(memoryview(body)[off:off + size])
