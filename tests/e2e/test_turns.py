"""What waits for its turn with the store holds up nobody who does not need the answer (P8)."""
import os

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
