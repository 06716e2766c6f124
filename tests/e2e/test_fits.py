"""Twins: each action of astropy and cfitsio, on the mount and on a local disk, same bytes."""
import os
import re
import subprocess
import sys
import warnings

import pytest

import fitsgen
import lib
from lib import read, same

fits = pytest.importorskip("astropy.io.fits")
np = pytest.importorskip("numpy")

SIDE = 320
CFITS = os.path.join(lib.BUILD, "tests", "tools", "cfits")
pytestmark = pytest.mark.stores("s3d")


class Twins:
    """The same file on the mount and on the disk."""

    def __init__(self, store, m, folder):
        self.store, self.m = store, m
        self.disk = os.path.join(folder, "disk")
        os.mkdir(self.disk)

    def add(self, kind, name):
        path = fitsgen.make(kind, os.path.join(self.disk, name), SIDE)
        self.store.put(name, path=path)

    def paths(self, name):
        return self.m.path(name), os.path.join(self.disk, name)

    def both(self, call, name):
        """call(path) on each; what it returns and what the files are must be the same."""
        there, here = self.paths(name)
        got, want = call(there), call(here)
        assert got == want
        self.check(name)
        return want

    def check(self, name, mask=lambda data: data):
        there, here = self.paths(name)
        same(mask(read(there)), mask(read(here)))
        same(mask(self.store.get(name)), mask(read(here)))


@pytest.fixture
def twins(store, mount, folder):
    return Twins(store, mount(store), folder)


def a_slice(hdu):
    return hdu.data[..., 40:140, 50:150].tobytes()


READS = {
    "getheader 0": lambda p: repr(fits.getheader(p, 0)),
    "getval": lambda p: fits.getval(p, "TELESCOP"),
    "getheader SCI": lambda p: repr(fits.getheader(p, "SCI")),
    "getheader DQ": lambda p: repr(fits.getheader(p, "DQ")),
    "info": lambda p: [i[:6] for i in fits.info(p, output=False)],
    "slice by mmap": lambda p: with_open(p, lambda h: a_slice(h["SCI"])),
    "section": lambda p: with_open(p, lambda h: h["SCI"].section[40:140, 50:150].tobytes(),
                                   memmap=False),
    "whole, no mmap": lambda p: with_open(p, lambda h: h["SCI"].data.tobytes(), memmap=False),
    "strided": lambda p: with_open(p, lambda h: h["ERR"].data[::9, ::9].tobytes()),
    "every array": lambda p: with_open(p, lambda h: [x.data.tobytes() for x in h
                                                     if x.data is not None]),
    "checksums": lambda p: with_open(p, lambda h: [x.verify_checksum() for x in h]),
}


def with_open(path, call, **opts):
    with fits.open(path, **opts) as hdus:
        return call(hdus)


@pytest.mark.parametrize("action", READS)
def test_astropy_reads(twins, action):
    twins.add("cal", "x_cal.fits")
    twins.both(READS[action], "x_cal.fits")


@pytest.mark.parametrize("kind", sorted(fitsgen.EXTENSIONS))
def test_every_kind_of_product(twins, kind):
    twins.add(kind, "x_%s.fits" % kind)
    twins.both(lambda p: [(h.name, h.data.tobytes() if h.data is not None else b"")
                          for h in fits.open(p)], "x_%s.fits" % kind)


def hdus():
    made = [fits.PrimaryHDU()]
    for n, name in enumerate(("SCI", "ERR", "DQ", "AREA", "VAR_POISSON", "VAR_RNOISE")):
        made.append(fits.ImageHDU(np.arange(SIDE * SIDE, dtype="f4").reshape(SIDE, SIDE) + n,
                                  name=name))
    return fits.HDUList(made)


def update_key(path):
    with fits.open(path, mode="update") as h:
        h["SCI"].header["BUNIT"] = "Jy/beam"


def update_pixel(path):
    with fits.open(path, mode="update") as h:
        h["SCI"].data[5, 5] = 42
        h.flush()


def update_resize(path):
    with fits.open(path, mode="update") as h:
        for n in range(60):
            h[0].header["ADDED%03d" % n] = n


def append_hdu(path):
    fits.append(path, np.arange(1000, dtype="f4"), fits.Header([("EXTNAME", "MORE")]))


def write_table(path):
    from astropy.table import Table
    Table({"a": [1, 2, 3], "b": [1.5, 2.5, 3.5]}).write(path + ".ecsv", overwrite=True)


WRITES = {
    "writeto": lambda p: hdus().writeto(p + ".new.fits"),
    "writeto overwrite": lambda p: hdus().writeto(p, overwrite=True),
    "writeto checksum": lambda p: hdus().writeto(p + ".sum.fits"),
    "update a key": update_key,
    "setval": lambda p: fits.setval(p, "FILTER", value="F444W"),
    "update a pixel": update_pixel,
    "update that resizes": update_resize,
    "append": append_hdu,
    "table": write_table,
}


@pytest.mark.short
@pytest.mark.parametrize("action", WRITES)
def test_astropy_writes(twins, action):
    twins.add("cal", "x_cal.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in twins.paths("x_cal.fits"):
            WRITES[action](path)
    for name in sorted(os.listdir(twins.disk)):
        twins.check(name)
    twins.m.umount()
    assert twins.store.files() == sorted(os.listdir(twins.disk))
    twins.m.mount()


@pytest.mark.parametrize("side", [SIDE, 2048])
def test_writeto_is_one_upload(s3d, mount, side):
    """P: flushes per array, fallocate for those of 16 MiB; one object version."""
    m = mount(s3d)
    s3d.server.mark()
    data = np.ones((side, side), dtype="f4")
    made = fits.HDUList([fits.PrimaryHDU()] + [fits.ImageHDU(data, name="E%d" % n)
                                               for n in range(7)])
    for turn in range(2):
        made.writeto(m.path("x.fits"), overwrite=True)
        commits = [c for c in s3d.server.commits() if c["key"].endswith("/x.fits")]
        assert [c["op"] for c in commits] in (["put"] * (turn + 1), ["complete"] * (turn + 1))
    with fits.open(m.path("x.fits")) as h:
        assert [x.name for x in h][1:] == ["E%d" % n for n in range(7)]
        assert h["E6"].data.sum() == side * side


STAMPS = re.compile(rb"(CHECKSUM|DATASUM )=.{71}")


@pytest.mark.parametrize("action", ["info", "header", "subset", "image", "create", "update",
                                    "grow", "delete", "checksum"])
def test_cfitsio(twins, action):
    if not os.access(CFITS, os.X_OK):
        pytest.skip("built without cfitsio")
    twins.add("cal", "x_cal.fits")
    name = "new.fits" if action == "create" else "x_cal.fits"
    said = []
    for path in twins.paths(name):
        done = subprocess.run([CFITS, action, path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=200 * lib.SLOW)
        assert (done.returncode, done.stderr) == (0, ""), path
        said.append(done.stdout)
    assert said[0] == said[1]
    twins.check(name, lambda data: STAMPS.sub(b"", data))


@pytest.mark.parametrize("tool", ["fitsheader", "fitsinfo", "fitscheck"])
def test_command_line_tools(twins, tool):
    twins.add("i2d", "x_i2d.fits")
    script = "from astropy.io.fits.scripts.%s import main; main()" % tool
    said = []
    for path in twins.paths("x_i2d.fits"):
        done = subprocess.run([sys.executable, "-c", script, os.path.basename(path)],
                              cwd=os.path.dirname(path), stdout=subprocess.PIPE, timeout=200)
        assert done.returncode in (0, 1) and (done.stdout or tool == "fitscheck")
        said.append((done.returncode, done.stdout))
    assert said[0] == said[1]
