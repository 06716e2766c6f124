"""What is asked of the bucket, counted in the server's log (P4, P6, P7)."""
import os
import shutil
import threading

import pytest

import lib
from lib import body, read, same, write

HALF_GB = 500 * 1000 * 1000


def asked(s3d, *methods):
    """Requests since mark(), of the daemon only."""
    return [r for r in s3d.server.new() if not (r["agent"] or "").startswith("Boto")
            and (not methods or r["method"] in methods)]


def show(requests):
    return ["%s %s %s %s" % (r["method"], r["key"], r["query"], r["range"]) for r in requests]


@pytest.fixture
def big(s3d, folder):
    """A 500 MB object, sparse but for its first megabyte."""
    path = os.path.join(folder, "big")
    with open(path, "wb") as f:
        f.write(body(1 << 20))
        f.truncate(HALF_GB)
    s3d.put("big.fits", path=path)
    os.unlink(path)
    return "big.fits"


def test_cold_header_read_is_one_small_get(s3d, big, mount):
    """P7: a header read of a large file costs kilobytes and one round trip: the first block
    comes with the name.  Every other GET is of that version (P1)."""
    m = mount(s3d)
    s3d.server.mark()
    with open(m.path(big), "rb", buffering=0) as f:
        assert lib.pread(f.fileno(), 4096, 0) == body(4096)
        got = [r for r in asked(s3d) if r["key"]]
        assert [r["method"] for r in got] == ["GET"], show(got)
        assert got[0]["range"] == "bytes=0-262143" and got[0]["sent"] <= 512 << 10, show(got)
        s3d.server.mark()
        assert lib.pread(f.fileno(), 4096, 512 << 10) == body(1 << 20)[512 << 10:][:4096]
        assert asked(s3d) and all(r["if_match"] for r in asked(s3d)), show(asked(s3d))


def head_of(path):
    with open(path, "rb", buffering=0) as f:
        return lib.pread(f.fileno(), 4096, 0)


def test_of_a_name_that_is_here_no_byte_comes_again(s3d, big, mount):
    """A day later the version is looked at, by its name alone; and read, from the disk."""
    m = mount(s3d)
    assert head_of(m.path(big)) == body(4096)
    m.umount()
    m.mount()
    s3d.server.mark()
    assert head_of(m.path(big)) == body(4096)
    got = [r for r in asked(s3d) if r["key"]]
    assert [r["method"] for r in got] == ["HEAD"], show(got)


def test_another_version_of_a_name_that_is_here(s3d, mount):
    """P1: its first block is not the old one's, whoever brings it."""
    old, new = body(300 << 10), body(301 << 10, seed=2)
    s3d.put("f.fits", old)
    m = mount(s3d, ttl="0")
    same(read(m.path("f.fits")), old)
    s3d.put("f.fits", new)
    same(read(m.path("f.fits")), new)


@pytest.mark.parametrize("size", [0, 1, 2880, 256 << 10, (256 << 10) + 1])
def test_files_of_all_sizes_by_name(s3d, mount, size):
    """Also those that are whole in their first block, or have none: a range of an object
    without bytes is refused."""
    s3d.put("f.fits", body(size))
    m = mount(s3d)
    same(read(m.path("f.fits")), body(size))
    assert os.path.getsize(m.path("f.fits")) == size


def test_second_open_asks_nothing(s3d, big, mount):
    m = mount(s3d)
    for turn in range(2):
        s3d.server.mark()
        with open(m.path(big), "rb") as f:
            assert f.read(4096) == body(4096)
            os.fstat(f.fileno())
        os.stat(m.path(big))
        os.statvfs(m.point)
        os.getxattr(m.path(big), "user.mastfs.etag")
    assert show(asked(s3d)) == []


def test_long_listing_is_one_list(s3d, mount):
    """1,000 objects: one page, no HEAD."""
    for n in range(1000):
        s3d.put("d/f%04d.fits" % n, b"x")
    m = mount(s3d)
    s3d.server.mark()
    done = lib.subprocess.run(["ls", "-l", m.path("d")], stdout=lib.subprocess.PIPE)
    assert done.stdout.count(b"\n") == 1001
    got = asked(s3d)
    lists = [r for r in got if "list-type=2" in r["query"] and "d%2F" in r["query"]]
    assert len(lists) == 1, show(got)
    assert [r for r in got if r["method"] == "HEAD"] == []
    assert len(got) <= 2, show(got)
    s3d.server.mark()
    lib.subprocess.run(["ls", "-l", m.path("d")], stdout=lib.subprocess.PIPE)
    assert show(asked(s3d)) == []


def test_listing_is_one_request_a_page(s3d, mount):
    for n in range(2100):
        s3d.put("d/f%04d" % n, b"")
    m = mount(s3d)
    s3d.server.mark()
    assert len(os.listdir(m.path("d"))) == 2100
    lists = [r for r in asked(s3d) if "prefix=" in r["query"] and "d%2F" in r["query"]]
    assert len(lists) <= 4, show(lists)  # one more to learn that d is a directory


def test_daemon_restarted_within_ttl_lists_without_asking(s3d, mount):
    """P7, across mounts: the listing is kept; what was put or removed since is not undone."""
    for n in range(1500):
        s3d.put("d/f%04d" % n, b"x")
    m = mount(s3d)
    assert len(os.listdir(m.path("d"))) == 1500
    m.remount()
    s3d.server.mark()
    assert len(os.listdir(m.path("d"))) == 1500
    assert not os.path.exists(m.path("d/none"))
    assert os.stat(m.path("d/f0007")).st_size == 1
    lists = [r for r in asked(s3d) if "d%2F" in r["query"] or r["key"].endswith("/none")]
    assert lists == [], show(lists)

    write(m.path("d/new"), b"new")
    os.unlink(m.path("d/f0000"))
    lib.wait("the DELETE", lambda: "d/f0000" not in s3d.files())
    m.kill()
    m.mount()
    names = os.listdir(m.path("d"))
    assert len(names) == 1500 and "new" in names and "f0000" not in names
    assert read(m.path("d/new")) == b"new"


def test_removed_directory_stays_away(s3d, mount):
    m = mount(s3d)
    os.mkdir(m.path("d"))
    os.rmdir(m.path("d"))
    lib.wait("the DELETE of the marker", lambda: [
        c for c in s3d.server.commits() if c["op"] == "delete" and c["key"].endswith("/d/")])
    assert "d" not in os.listdir(m.point)
    assert not os.path.exists(m.path("d"))


def test_eight_readers_fetch_each_byte_once(s3d, mount):
    size = (20 << 20) + 99
    s3d.put("f", body(size))
    m = mount(s3d)
    s3d.server.mark()
    wrong = []

    def reader():
        if read(m.path("f")) != body(size):
            wrong.append(1)

    threads = [threading.Thread(target=reader) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    gets = [r for r in asked(s3d, "GET") if r["key"]]
    assert sum(r["sent"] for r in gets) == size, show(gets)


def test_sequential_reader_has_several_gets_in_flight(s3d, mount):
    size = 64 << 20
    s3d.put("f", body(size))
    m = mount(s3d)
    s3d.server.rule("delay", method="GET", key="(^|/)f$", secs=0.05)
    s3d.server.mark()
    same(read(m.path("f")), body(size))
    gets = sorted(asked(s3d, "GET"), key=lambda r: r["t0"])
    overlap = sum(1 for a, b in zip(gets, gets[1:]) if b["t0"] < (a["t1"] or a["t0"]))
    assert overlap >= len(gets) // 3, show(gets)


def test_one_close_is_one_upload(s3d, mount):
    m = mount(s3d)
    s3d.server.mark()
    write(m.path("f"), b"x" * 100000)
    got = asked(s3d, "PUT", "POST", "DELETE")
    assert show(got) == ["PUT some/prefix/f  None"], show(got)


def test_unlink_and_create_again_is_one_put(s3d, mount):
    """P4: never a gap.  What writeto(overwrite=True) does."""
    s3d.put("f", b"old")
    m = mount(s3d)
    os.stat(m.path("f"))
    s3d.server.mark()
    os.unlink(m.path("f"))
    write(m.path("f"), b"new")
    m.umount()
    got = asked(s3d, "PUT", "POST", "DELETE")
    assert [r["method"] for r in got] == ["PUT"], show(got)
    assert s3d.get("f") == b"new"


@pytest.mark.parametrize("size", [100000, 20 << 20])
def test_part_then_rename_is_one_put(s3d, mount, size):
    """P6: one PUT or one multipart; no COPY, no DELETE, nothing under the temporary name."""
    m = mount(s3d)
    s3d.server.mark()
    with open(m.path("f.fits.part"), "wb") as f:
        f.write(body(size))
    assert [r for r in asked(s3d) if ".part" in r["key"]] == []
    os.rename(m.path("f.fits.part"), m.path("f.fits"))
    same(s3d.get("f.fits"), body(size))
    got = asked(s3d, "PUT", "POST", "DELETE")
    assert not [r for r in got if r["method"] == "DELETE" or ".part" in r["key"]], show(got)
    assert len([c for c in s3d.server.commits() if c["key"].endswith("f.fits")]) == 1
    assert not [c for c in s3d.server.commits() if c["op"] == "copy"]
    sent = sum(r["received"] for r in got if r["method"] == "PUT")
    assert sent == size, "%d bytes sent for %d: %s" % (sent, size, show(got))


def test_state_saves_ask_nothing(s3d, mount):
    """Ten times a second, on the event loop."""
    m = mount(s3d)
    os.makedirs(m.path(".download_state"), exist_ok=True)
    s3d.server.mark()
    for n in range(20):
        write(m.path(".download_state/job.json.tmp"), b"%d" % n * 500)
        os.replace(m.path(".download_state/job.json.tmp"), m.path(".download_state/job.json"))
    assert read(m.path(".download_state/job.json")) == b"19" * 500
    assert show(asked(s3d)) == []
    os.unlink(m.path(".download_state/job.json"))
    m.umount()
    assert show(asked(s3d)) == []


def test_two_walks_of_a_tree_cost_one_list_a_directory(s3d, mount):
    """.NET scans twice at its start."""
    for o in range(10):
        for n in range(5):
            s3d.put("obs%d/f%d.fits" % (o, n), b"x")
    m = mount(s3d)
    s3d.server.mark()
    for _ in range(2):
        assert len(lib.tree(m.point)) == 60
    got = asked(s3d)
    assert len(got) <= 11 and not [r for r in got if r["method"] == "HEAD"], show(got)


def test_missing_names_are_remembered(s3d, mount):
    m = mount(s3d)
    os.path.exists(m.path("none"))
    s3d.server.mark()
    for _ in range(5):
        assert not os.path.exists(m.path("none"))
    assert show(asked(s3d)) == []


def test_new_file_in_a_listed_directory_costs_its_put_only(s3d, mount):
    s3d.put("d/a", b"1")
    m = mount(s3d)
    os.listdir(m.path("d"))
    s3d.server.mark()
    write(m.path("d/b"), b"2")
    os.stat(m.path("d/b"))
    assert read(m.path("d/b")) == b"2"
    assert sorted(os.listdir(m.path("d"))) == ["a", "b"]
    assert [r["method"] for r in asked(s3d)] == ["PUT"], show(asked(s3d))


def test_deleting_an_observation_is_one_delete_a_file(s3d, mount):
    for n in range(20):
        s3d.put("obs/f%d" % n, b"x")
    m = mount(s3d)
    s3d.server.mark()
    for name in os.listdir(m.path("obs")):
        os.unlink(m.path("obs", name))
    os.rmdir(m.path("obs"))
    m.umount()
    assert s3d.files() == []
    deletes = [r for r in asked(s3d, "DELETE") if "/f" in r["key"]]
    assert len(deletes) <= 20, show(asked(s3d))


def test_a_write_is_one_request_of_the_kernel(local, mount):
    """It need not ask before each whether the file has capabilities to be cleared."""
    m = mount(local)

    def calls():
        with open("/proc/%d/io" % m.process.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("syscr"))

    with open(m.path("f.part"), "wb", buffering=0) as f:
        f.write(b"first")
        before = calls()
        for _ in range(1000):
            f.write(b"more")
        assert calls() - before < 1200


def test_dup_of_another_user(s3d, mount):
    """D3: root in a container may not look into another user's process (no CAP_SYS_PTRACE),
    and still sees that it holds the file."""
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    m = mount(s3d, user=["setpriv", "--bounding-set=-sys_ptrace"], allow_other=True, uid=1001,
              gid=1001)
    s3d.server.mark()
    lib.sh("""setpriv --reuid=1001 --regid=1001 --clear-groups sh -euc '
        exec 3>"$0"
        for n in 1 2 3 4; do echo $n >&3; true 4>&3; done' "$1" """, m.path("f"))
    assert len(asked(s3d, "PUT")) == 1
    assert s3d.get("f") == b"1\n2\n3\n4\n"
