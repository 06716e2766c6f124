"""What is fetched before anybody asks for it: counted at the server, never timed.  "At once"
means: when the server is quiet again, what is read next asks for nothing more."""
import glob
import os
import time

import pytest

import lib
from lib import pread, same

fits = pytest.importorskip("astropy.io.fits")
np = pytest.importorskip("numpy")

MIB = 1 << 20
SIDE = 1024  # an image of 4 MiB
IMAGES = 20


def requests(s3d):
    return [r for r in s3d.server.new() if not (r["agent"] or "").startswith("Boto")]


def gets(s3d):
    return [r for r in requests(s3d) if r["method"] == "GET" and r["key"]]


def quiet(s3d):
    """The data GETs since mark(), when no more come."""
    before = None
    while (now := gets(s3d)) != before:
        before = now
        time.sleep(.3)
    return now


def first(request):
    return int(request["range"].split("=")[1].split("-")[0])


def show(found):
    return ["%s %s" % (r["key"], r["range"]) for r in found]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A path, and where each header begins."""
    path = str(tmp_path_factory.mktemp("ahead") / "images.fits")
    rng = np.random.default_rng(1)
    hdus = [fits.PrimaryHDU()]
    for n in range(IMAGES):
        hdus.append(fits.ImageHDU(rng.random((SIDE, SIDE), dtype="f4"), name="E%d" % n))
    fits.HDUList(hdus).writeto(path)
    with fits.open(path) as hdul:
        offsets = [hdu.fileinfo()["hdrLoc"] for hdu in hdul]
    return path, offsets


def hop(fd, want, off):
    """As libraries do: the page that the header begins in, a buffer of st_blksize."""
    at = off & ~4095
    same(pread(fd, 65536, at), want[at:at + 65536])


def all_headers(fd, want, offsets):
    for off in offsets:
        hop(fd, want, off)


def test_headers_behind_the_first_hop_come_at_once(s3d, mount, images):
    path, offsets = images
    want = lib.read(path)
    s3d.put("images.fits", path=path)
    m = mount(s3d)
    s3d.server.mark()
    with open(m.path("images.fits"), "rb", buffering=0) as f:
        hop(f.fileno(), want, 0)
        assert len(quiet(s3d)) == 1, "the first header alone: %s" % show(gets(s3d))
        hop(f.fileno(), want, offsets[2])
        walked = quiet(s3d)
        all_headers(f.fileno(), want, offsets)
        assert len(quiet(s3d)) == len(walked), show(gets(s3d)[len(walked):])
    assert len(walked) <= IMAGES + 4, show(walked)
    assert sum(r["sent"] for r in walked) <= 2 * IMAGES * (MIB // 4)
    assert fits.info(m.path("images.fits"), output=False) == fits.info(path, output=False)


def test_a_known_layout_outlives_its_blocks(s3d, mount, images):
    """The index keeps it by key and ETag: all headers are one round, from the opening on."""
    path, offsets = images
    want = lib.read(path)
    s3d.put("images.fits", path=path)
    m = mount(s3d)
    fits.info(m.path("images.fits"), output=False)
    quiet(s3d)
    m.umount()
    for name in glob.glob(os.path.join(m.cache, "**", "blocks", "*", "*"), recursive=True):
        os.unlink(name)
    m.mount()
    s3d.server.mark()
    with open(m.path("images.fits"), "rb", buffering=0) as f:
        known = quiet(s3d)
        all_headers(f.fileno(), want, offsets)
        assert len(quiet(s3d)) == len(known), show(gets(s3d)[len(known):])
    assert IMAGES - 3 <= len(known) <= IMAGES + 2, show(known)


def test_what_a_first_opening_began_goes_on(s3d, mount, images):
    """Programs look what a file is and open it again: its headers come meanwhile."""
    path, offsets = images
    with open(path, "rb") as f:
        want = f.read()
    s3d.put("f.fits", path=path)
    m = mount(s3d, fill="no", fetchers=2)
    with open(m.path("f.fits"), "rb", buffering=0) as f:
        all_headers(f.fileno(), want, offsets)
    m.umount()
    for blocks in glob.glob(os.path.join(m.cache, "*", "blocks", "*", "*")):
        os.unlink(blocks)
    s3d.server.rule("delay", method="GET", key="f.fits$", secs=.1)
    m.mount()
    s3d.server.mark()
    os.close(os.open(m.path("f.fits"), os.O_RDONLY))
    assert len(quiet(s3d)) >= IMAGES - 3, show(gets(s3d))


def put_kind(s3d, path, names):
    for name in names:
        s3d.put("jw01_%s_cal.fits" % name, path=path)


def opening(s3d, m, name):
    """What comes though nothing is read: the first block does, with the name."""
    s3d.server.mark()
    with open(m.path(name), "rb", buffering=0):
        return quiet(s3d)


def test_files_of_one_kind_are_laid_out_alike(s3d, mount, images):
    """Where readers hop, the headers of a file that was never seen come when it is opened;
    by a mount that never saw any of its kind too."""
    path, offsets = images
    want = lib.read(path)
    put_kind(s3d, path, "abc")
    m = mount(s3d)
    fits.info(m.path("jw01_a_cal.fits"), output=False)
    quiet(s3d)
    m.umount()
    m.mount()
    came = opening(s3d, m, "jw01_b_cal.fits")
    assert [first(r) for r in came] == [0], "nobody has hopped yet: %s" % show(came)
    fits.info(m.path("jw01_a_cal.fits"), output=False)
    s3d.server.mark()
    with open(m.path("jw01_c_cal.fits"), "rb", buffering=0) as f:
        guessed = quiet(s3d)
        all_headers(f.fileno(), want, offsets)
        assert len(quiet(s3d)) == len(guessed), show(gets(s3d)[len(guessed):])
    assert IMAGES - 3 <= len(guessed) <= IMAGES + 2, show(guessed)


def test_a_wrong_guess_costs_blocks_and_no_byte(s3d, mount, images, folder):
    """P1: same name, same size, but another layout."""
    path, _ = images
    other = lib.body(os.path.getsize(path) - 2880)
    with open(path, "rb") as f:
        other = f.read(2880) + other
    put_kind(s3d, path, "a")
    lib.write(os.path.join(folder, "other"), other)
    s3d.put("jw01_x_cal.fits", path=os.path.join(folder, "other"))
    m = mount(s3d)
    fits.info(m.path("jw01_a_cal.fits"), output=False)
    quiet(s3d)
    m.umount()  # learnt for good
    m.mount()
    fits.info(m.path("jw01_a_cal.fits"), output=False)
    came = opening(s3d, m, "jw01_x_cal.fits")
    assert 0 < sum(r["sent"] for r in came) <= 2 * IMAGES * (MIB // 4), show(came)
    same(lib.read(m.path("jw01_x_cal.fits")), other)


def test_arrays_come_early_where_they_are_read(s3d, mount, images):
    """And stop to, when those who open files read nothing of them."""
    path, offsets = images
    put_kind(s3d, path, "abcd")
    m = mount(s3d)
    with fits.open(m.path("jw01_a_cal.fits"), memmap=False) as hdul:
        assert len(hdul) == IMAGES + 1
        for hdu in hdul[1:4]:
            assert hdu.data.shape == (SIDE, SIDE)
    quiet(s3d)
    m.umount()  # learnt for good, and read again by another mount
    m.mount()
    with fits.open(m.path("jw01_a_cal.fits"), memmap=False) as hdul:
        assert len(hdul) == IMAGES + 1
        for hdu in hdul[1:4]:
            assert hdu.data.shape == (SIDE, SIDE)
    quiet(s3d)
    array = offsets[2] - offsets[1]
    early, behind = [], []
    for name in "bcd":
        came = opening(s3d, m, "jw01_%s_cal.fits" % name)
        early.append(sum(r["sent"] for r in came if first(r) < offsets[2]) >= array)
        behind.append(sum(r["sent"] for r in came) >= 3 * array)
        assert sum(r["sent"] for r in came) <= 28 * MIB + (IMAGES + 2) * (MIB // 4), show(came)
    assert early == [True, True, False]
    assert behind == early, "no array but the first"


def cutout(fd, want, start, row, col):
    """100 rows of 100 pixels."""
    for n in range(row, row + 100):
        at = start + (n * SIDE + col) * 4
        same(pread(fd, 400, at), want[at:at + 400])


@pytest.mark.parametrize("limit", ["64M", "1M"])
def test_who_comes_back_to_an_image_gets_all_of_it(s3d, mount, images, limit):
    path, offsets = images
    want = lib.read(path)
    s3d.put("images.fits", path=path)
    m = mount(s3d, whole_array=limit, read_ahead="128K")
    start = offsets[1] + 2880
    s3d.server.mark()
    with open(m.path("images.fits"), "rb", buffering=0) as f:
        hop(f.fileno(), want, 0)
        quiet(s3d)  # the layout is learnt behind the reader's back
        pread(f.fileno(), 400, start + 3 * MIB)
        quiet(s3d)
        pread(f.fileno(), 400, start + MIB + MIB // 2)
        came = quiet(s3d)
        for n in range(20):
            cutout(f.fileno(), want, start, 37 * n, 41 * n)
        later = quiet(s3d)[len(came):]
    if limit == "64M":
        assert [r for r in later if first(r) < offsets[2]] == [], show(later)
        sent = sum(r["sent"] for r in came)
        assert sent <= 5 * MIB, "no more than the array and the first block: %d" % sent
    else:
        assert later != []


def test_a_first_cutout_is_one_round(s3d, mount, images):
    """Its rows lie in more than one block."""
    path, offsets = images
    want = lib.read(path)
    s3d.put("images.fits", path=path)
    m = mount(s3d, read_ahead="128K")
    s3d.server.mark()
    with open(m.path("images.fits"), "rb", buffering=0) as f:
        hop(f.fileno(), want, 0)
        quiet(s3d)  # the layout is learnt behind the reader's back
        edge = offsets[1] + MIB // 4 * 9 & -MIB // 4
        for row in range(-8, 8):
            at = edge + row * 4 * SIDE
            same(pread(f.fileno(), 400, at), want[at:at + 400])
            came = quiet(s3d)
            assert len(came) == 2, show(came)


def test_cutouts_leave_the_other_images_alone(s3d, mount, folder):
    """A window that opens within a cutout ends near its array's end."""
    side, path = 2048, os.path.join(folder, "large.fits")
    data = np.random.default_rng(2).random((side, side), dtype="f4")
    fits.HDUList([fits.PrimaryHDU()] + [fits.ImageHDU(data) for _ in range(4)]).writeto(path)
    s3d.put("large.fits", path=path)
    m = mount(s3d)
    s3d.server.mark()
    with fits.open(m.path("large.fits")) as hdul:
        for n in range(5):
            row, col = n * 2 % 5 * 400, 97 * n  # here and there
            got = hdul[1].section[row:row + 100, col:col + 100]
            assert (got == data[row:row + 100, col:col + 100]).all()
    sent = sum(r["sent"] for r in quiet(s3d))
    assert sent <= 16 * MIB + MIB, sent


def test_the_tail_comes_with_the_head_where_tails_are_read(s3d, mount, images):
    path, _ = images
    want = lib.read(path)
    for name in ("a.fits", "b.fits", "c.dat"):
        s3d.put(name, path=path)
    m = mount(s3d)
    end = len(want) - 4096 & ~4095

    def head_of(name):
        """Requests for the head alone, and then for the tail."""
        s3d.server.mark()
        with open(m.path(name), "rb", buffering=0) as f:
            hop(f.fileno(), want, 0)
            head = quiet(s3d)
            same(pread(f.fileno(), 4096, end), want[end:end + 4096])
            return len(head), len(quiet(s3d)) - len(head)

    assert head_of("a.fits") == (1, 1)
    assert head_of("b.fits") == (2, 0), "somebody reads tails here"
    assert head_of("c.dat") == (1, 1), "not a FITS file's name"


def test_equal_jumps_are_foretold(s3d, mount, folder):
    """A pixel through the planes of a cube, of no known format."""
    plane, planes = 3 * MIB + 1234, 16
    body = lib.body(plane * planes)
    path = os.path.join(folder, "cube")
    lib.write(path, body)
    s3d.put("cube.dat", path=path)
    m = mount(s3d)
    s3d.server.mark()
    with open(m.path("cube.dat"), "rb", buffering=0) as f:
        for n in range(planes):
            at = MIB + n * plane
            same(pread(f.fileno(), 4096, at), body[at:at + 4096])
            if n == 6:
                came = len(quiet(s3d))
            if n == 8:
                assert len(quiet(s3d)) >= came, "the places behind it"
    found = quiet(s3d)
    assert sum(r["sent"] for r in found) <= 2 * planes * (MIB // 2), show(found)
    order = [first(r) for r in found]
    assert len(set(order)) == len(order), "nothing twice"
