"""What waits for its turn with the store holds up nobody who does not need the answer (P8)."""
import os
import threading

from lib import body, read, same, wait, write


def gone(store):
    return sum(c["op"] == "delete" for c in store.server.commits())


def test_tree_that_is_removed_and_written_anew(s3d, mount):
    """A name that was removed is written, or becomes a directory, before the rest is gone."""
    names = ["d%03d" % n for n in range(200)]
    for name in names:
        s3d.put(name, b"old")
    m = mount(s3d, upload="background")
    assert sorted(os.listdir(m.point)) == names
    s3d.server.rule("delay", "DELETE", secs=2)
    for name in names:
        os.unlink(m.path(name))
    wait("the first of them", lambda: gone(s3d) >= 8)
    left = sorted(set(names) & set(s3d.files()))
    before = gone(s3d)
    for name in left[-20:]:
        write(m.path(name), body(1000))
    os.mkdir(m.path(left[0]))
    assert gone(s3d) - before < 60, "it was waited for the others"
    s3d.server.clear()
    m.umount()
    assert s3d.files() == left[-20:]
    for name in left[-20:]:
        same(s3d.get(name), body(1000))
    m.mount()
    assert sorted(os.listdir(m.point)) == [left[0]] + left[-20:]
    same(read(m.path(left[-1])), body(1000))


def test_close_of_a_file_that_another_touches(s3d, mount):
    """Its upload is stopped for the new time and sent again: close waits for that one (P2)."""
    m = mount(s3d)
    s3d.server.rule("delay", "PUT", secs=2)
    fd = os.open(m.path("f"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, body(1000))
    ended = []

    def close():
        try:
            os.close(fd)
            ended.append((None, s3d.get("f")))
        except OSError as err:
            ended.append((err, None))
    s3d.server.mark()
    closer = threading.Thread(target=close)
    closer.start()
    wait("the upload", lambda: s3d.server.new("PUT"))
    os.utime(m.path("f"), (1000000000, 1000000000))
    closer.join()
    assert ended == [(None, body(1000))]
    s3d.server.clear()
    m.remount(wipe=True)
    assert os.stat(m.path("f")).st_mtime == 1000000000
