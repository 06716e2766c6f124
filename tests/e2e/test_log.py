"""The log and the figures of a running daemon: switched, moved away, and collected."""
import datetime
import http.client
import json
import os
import signal
import stat
import subprocess

import pytest

import lib
from asked import ask, prometheus
from lib import body, fails, read, wait, write

HOSTILE = "x\n{\"level\":\"error\"}\x1b[31m\t\\\"\u009b\u2028\u00e9.fits"


def level(m, *args):
    done = m.run("log", *args, m.point)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    point, said = done.stdout.rstrip("\n").rsplit(": ", 1)
    assert point == m.point
    return said


def records(m):
    """Each line of a log_format=json is one object, and a strict one."""
    found = []
    for line in lib.read(m.log_path).split(b"\n")[:-1]:
        record = json.loads(line.decode("utf-8", "strict"))
        assert list(record) == ["time", "level", "area", "message"]
        assert record["time"].endswith("Z") and len(record["time"]) == 24
        datetime.datetime.fromisoformat(record["time"][:-1])
        assert record["level"] in ("error", "warn", "info", "debug")
        found.append(record)
    return found


def test_the_level_is_said_and_set(s3d, mount):
    s3d.put("f", b"bytes")
    m = mount(s3d, log_level="info")
    assert level(m) == "info"
    read(m.path("f"))
    assert "debug:" not in m.log()
    assert level(m, "debug") == "debug"
    assert level(m) == ask(m)[1]["log_level"] == "debug"
    os.listdir(m.point)
    assert "debug: http: GET" in m.log()
    assert level(m, "error") == "error"
    size = len(m.log())
    os.mkdir(m.path("new"))
    assert len(m.log()) == size


def test_a_level_that_is_none_is_refused(local, mount):
    m = mount(local, log_level="info")
    done = m.run("log", "loud", m.point)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "loud" in done.stderr
    done = m.run("log", "debug", m.folder)
    assert done.returncode == 3 and "no mastfs is mounted there" in done.stderr
    assert level(m) == "info"


@pytest.mark.short
@pytest.mark.parametrize("configured", ["warn", "debug"])
def test_a_signal_goes_to_debug_and_back(local, mount, configured):
    m = mount(local, log_level=configured)
    seen = [level(m)]
    for _ in range(2):
        m.process.send_signal(signal.SIGUSR1)
        seen.append(wait("another level", lambda: level(m) != seen[-1] and level(m)))
    want = {"warn": ["warn", "debug", "warn"], "debug": ["debug", "info", "debug"]}
    assert seen == want[configured]


def test_json_whatever_a_key_holds(s3d, mount):
    """P10 of the log: no key forges a line, and every line can be read by a machine."""
    m = mount(s3d, log_format="json")
    s3d.server.rule("status", "PUT", status=403, code="AccessDenied")
    with pytest.raises(PermissionError):
        write(m.path(HOSTILE), body(1000))
    found = records(m)
    named = [r for r in found if r["area"] == "upload" and HOSTILE in r["message"]]
    assert len(named) == 1 and named[0]["level"] == "warn"
    assert {r["level"] for r in found} >= {"info", "debug", "warn"}
    s3d.server.clear()
    with open(m.path(HOSTILE), "ab"):
        pass
    assert s3d.get(HOSTILE) == body(1000)


def test_json_also_of_bytes_that_are_no_text(local, mount):
    name = b"\xff\xfe\x80-\xc3(.fits"
    m = mount(local, log_format="json")
    path = os.path.join(os.fsencode(m.point), name)
    with open(path, "wb") as f:
        f.write(b"one")
    bucket = os.path.join(os.fsencode(local.root), name)
    assert read(bucket) == b"one"
    # Somebody else replaces it meanwhile: the log names it (P5).
    with open(path, "r+b") as f:
        f.write(b"two")
        f.flush()
        temp = os.path.join(local.root, "..", "other")
        write(temp, b"another")
        os.rename(temp, bucket)
        fails(116, f.close)  # ESTALE
    shown = name.decode("ascii", "backslashreplace")
    assert any(shown in r["message"] for r in records(m) if r["level"] == "error"), m.tail()


def test_a_log_that_is_moved_away_is_opened_anew(local, mount, folder):
    path, old = os.path.join(folder, "log"), os.path.join(folder, "log.1")
    m = mount(local, log_file=path, log_level="info")
    os.rename(path, old)
    m.process.send_signal(signal.SIGHUP)
    wait("a new log", lambda: os.path.exists(path) and read(path))
    level(m, "warn")
    assert b"opened anew" in read(path) and b"opened anew" not in read(old)
    assert b"is mounted on" in read(old)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    for line in (read(old) + read(path)).decode().splitlines():
        stamp, rest = line.split(" ", 1)
        datetime.datetime.fromisoformat(stamp[:-1])
        assert stamp.endswith("Z") and rest.startswith("mastfs: ")
    assert m.alive() and m.process.poll() is None


def test_signals_that_come_before_the_mount_are_kept(s3d, mount, folder):
    """The terminal's end is none of a mount's with a log_file, from its start on."""
    path, old = os.path.join(folder, "log"), os.path.join(folder, "log.1")
    s3d.server.rule("delay", secs=2, count=1)
    m = mount(s3d, start=False, log_file=path, log_level="info")
    m.start()
    wait("the first request", s3d.server.log)
    assert not m.alive()
    os.rename(path, old)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        m.process.send_signal(number)
    m.until_mounted()
    wait("a new log", lambda: os.path.exists(path) and b"opened anew" in read(path))
    wait("the other level", lambda: level(m) == "debug")


def test_a_log_that_cannot_be_opened_anew_goes_on(local, mount, folder):
    place = os.path.join(folder, "logs")
    os.mkdir(place)
    path = os.path.join(place, "log")
    m = mount(local, log_file=path, log_level="info")
    os.rename(place, place + ".old")
    m.process.send_signal(signal.SIGHUP)
    old = os.path.join(place + ".old", "log")
    wait("its complaint", lambda: b"open log_file" in read(old))
    assert m.alive()


def test_hanging_up_ends_a_mount_without_a_log_file(local, mount):
    """As the terminal's end does, in which it is in the foreground."""
    m = mount(local)
    m.process.send_signal(signal.SIGHUP)
    assert m.process.wait(60 * lib.SLOW) == 0
    m.process = None
    assert not lib.mounted(m.point)


# --- the option metrics ---

def scrape(port, request="GET", path="/metrics", host="127.0.0.1"):
    conn = http.client.HTTPConnection(host, port, timeout=20 * lib.SLOW)
    conn.request(request, path)
    answer = conn.getresponse()
    text = answer.read().decode()
    conn.close()
    return answer, text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_figures_on_a_port(local, mount, host):
    if ":" in host and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    port = lib.free_port()
    m = mount(local, metrics=("[%s]:%d" if ":" in host else "%s:%d") % (host, port))
    answer, text = scrape(port, host=host)
    assert (answer.status, answer.headers["Content-Type"]) == (
        200, "text/plain; version=0.0.4; charset=utf-8")
    figures = prometheus(text)
    assert figures["mastfs_up"] == {(("mountpoint", m.point),): 1}
    write(m.path("f"), b"bytes")
    assert prometheus(scrape(port, host=host)[1])["mastfs_uploads_total"] == {
        (("mountpoint", m.point),): 1}
    # The same as is told to who asks by the socket: the same families.
    asked = prometheus(m.run("status", "--prometheus", m.point).stdout)
    assert asked.keys() == figures.keys()
    assert scrape(port, path="/", host=host)[0].status == 404
    assert scrape(port, "POST", host=host)[0].status == 405
    m.umount()
    with pytest.raises(ConnectionRefusedError):
        scrape(port, host=host)


def test_figures_of_a_mount_point_with_a_name_of_its_own(local, mount):
    """A label is a label, whatever the path holds."""
    m = mount(local, start=False)
    m.point = os.path.join(m.folder, 'a "b"\\c\n\x1bd')
    os.mkdir(m.point)
    m.mount()
    figures = prometheus(m.run("status", "--prometheus", m.point).stdout)
    shown = m.point.replace("\n", "\\x0a").replace("\x1b", "\\x1b")
    assert figures["mastfs_up"] == {(("mountpoint", shown),): 1}
    assert json.loads(m.run("status", "--json", m.point).stdout)["mountpoint"] == m.point
    m.umount()


def test_figures_in_a_file(local, mount, folder):
    path = os.path.join(folder, "mastfs.prom")
    m = mount(local, metrics=path, umask="077")
    text = wait("the file", lambda: os.path.exists(path) and read(path).decode())
    assert prometheus(text)["mastfs_up"] == {(("mountpoint", m.point),): 1}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    first = os.stat(path).st_ino
    write(m.path("f"), b"bytes")
    wait("the next one", lambda: os.stat(path).st_ino != first, 30)
    assert list(prometheus(read(path).decode())["mastfs_uploads_total"].values()) == [1]
    assert os.listdir(folder).count("mastfs.prom") == 1
    assert [n for n in os.listdir(folder) if n.startswith("mastfs.prom.")] == []
    m.umount()
    assert not os.path.exists(path)


@pytest.mark.parametrize("value", ["0.0.0.0:9100", "127.0.0.1:0", "127.0.0.1:65536",
                                   "127.0.0.1:80x", "localhost:9100", "[::]:9100", "9100",
                                   "figures.prom", "/nowhere/at/all/figures.prom"])
def test_another_place_for_figures_is_refused(local, mount, value):
    m = mount(local, start=False, metrics=value)
    done = subprocess.run(m.command(), env=m.env(), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "metrics " + value in done.stderr
    assert not lib.mounted(m.point)


def test_a_port_that_is_taken_is_said(local, mount):
    port = lib.free_port()
    first = mount(local, metrics="127.0.0.1:%d" % port)
    second = mount(local, start=False, metrics="127.0.0.1:%d" % port)
    done = subprocess.run(second.command(), env=second.env(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "Address already in use" in done.stderr
    assert scrape(port)[0].status == 200
    assert first.alive()


def test_the_readme_shows_what_works(local, mount):
    """Each command of its section, with the mount point that there is here."""
    m = mount(local)
    with open(os.path.join(lib.TESTS, "..", "README.md")) as f:
        section = f.read().split("### Looking at it", 1)[1].split("```")[1]
    commands = [line.split("#")[0].split()[1:] for line in section.strip().splitlines()]
    assert len(commands) == 6
    for words in commands:
        args = [m.point if w == "/app/data/mast" else w for w in words]
        if "-w" in args:
            with subprocess.Popen([lib.MASTFS, *args], env=m.env(), text=True,
                                  stdout=subprocess.PIPE) as watch:
                assert watch.stdout.readline().startswith(m.point)
                watch.kill()
            continue
        done = m.run(*args)
        assert done.returncode == 0, done
        assert ("" if "--quiet" in args else m.point) in done.stdout
    assert level(m) == "debug"
