"""An HTTP proxy before the store: what it says of its tunnel is not what the store says."""
import os

import pytest

import front
from lib import body, read, same, through, wait, write


@pytest.fixture
def tls(s3d, folder):
    """The way to s3d, by TLS; it ends with each answer, so the next request is a new tunnel's."""
    made = front.Front(s3d.server.port, front.Certificates(folder))
    through(s3d, made.url)
    s3d.server.rule("close_at", at=1 << 40)
    yield made
    made.stop()


@pytest.fixture
def proxy():
    made = front.Proxy()
    yield made
    made.stop()


def through_proxy(mount, s3d, tls, proxy, **more):
    return mount(s3d, ca_file=tls.certificates.ca, read_timeout="30s",
                 env={"https_proxy": proxy.url, **more})


def test_each_request_is_a_new_tunnel_s(s3d, tls, proxy, mount):
    """P1, P2: its bytes and its headers are the store's, whatever came before them."""
    for n in range(4):
        s3d.put("f%d" % n, body(300000, n))
    m = through_proxy(mount, s3d, tls, proxy)
    for n in range(4):
        before = len(proxy.tunnels)
        same(read(m.path("f%d" % n)), body(300000, n))
        assert len(proxy.tunnels) > before
    write(m.path("new"), body(5000))
    same(s3d.get("new"), body(5000))
    os.unlink(m.path("f0"))
    wait("the DELETE", lambda: s3d.files() == ["f1", "f2", "f3", "new"])
    assert set(proxy.tunnels) == {("CONNECT", "127.0.0.1:%d" % tls.port)}


def test_deletion_that_is_refused(s3d, tls, proxy, mount):
    """P10: the proxy's 200 is not the store's; the file is there as before."""
    s3d.put("d/f", body(5000))
    s3d.server.clear()
    s3d.server.rule("status", op="delete", key="d/f$", status=403, code="AccessDenied")
    s3d.server.rule("close_at", at=1 << 40)
    m = through_proxy(mount, s3d, tls, proxy)
    assert os.listdir(m.path("d")) == ["f"]
    s3d.server.mark()
    os.unlink(m.path("d/f"))
    wait("the DELETE", lambda: s3d.server.new("DELETE"))
    wait("the file is back", lambda: os.listdir(m.path("d")) == ["f"])
    assert s3d.files() == ["d/f"]
    same(read(m.path("d/f")), body(5000))


def test_no_proxy_is_heeded(s3d, tls, proxy, mount):
    s3d.put("f", body(5000))
    m = through_proxy(mount, s3d, tls, proxy, no_proxy="localhost,127.0.0.1")
    same(read(m.path("f")), body(5000))
    assert proxy.tunnels == []
