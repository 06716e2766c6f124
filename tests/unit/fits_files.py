#!/usr/bin/python3
"""fits_files.py HDUS: the files that astropy is tested with, and made-up products: our
layout of each is what astropy finds.  77 if astropy is not installed."""
import glob
import os
import subprocess
import sys
import tempfile
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import fitsgen  # noqa: E402

try:
    import astropy
    from astropy.io import fits
except ImportError:
    print("astropy is not installed")
    sys.exit(77)

# Its BITPIX is not where the standard wants it, so cfitsio refuses it; astropy does not.
REFUSED = ("verify.fits",)


def expected(path):
    """(header, data, end) of each HDU, no further than the file; None: cannot be told."""
    size = os.path.getsize(path)
    if os.path.basename(path) in REFUSED:
        return []
    try:
        with fits.open(path, memmap=False, disable_image_compression=True) as hdul:
            if not all(hasattr(hdu, "fileinfo") for hdu in hdul):
                return None  # SIMPLE = F
            info = [hdu.fileinfo() for hdu in hdul]
    except OSError:
        return []  # no FITS file
    return [(i["hdrLoc"], min(i["datLoc"], size), min(i["datLoc"] + i["datSpan"], size))
            for i in info]


def layouts(hdus, paths):
    out = subprocess.run([hdus, *paths], stdout=subprocess.PIPE, text=True, check=True).stdout
    found, now = {}, None
    for line in out.splitlines():
        if line in paths:
            now = found.setdefault(line, [])
        elif line != "none":
            now.append(tuple(int(n) for n in line.split()))
    return found


def main():
    hdus = sys.argv[1]
    warnings.simplefilter("ignore")
    base = os.path.dirname(astropy.__file__)
    paths = sorted(glob.glob(base + "/**/tests/data/**/*.fits", recursive=True))
    assert len(paths) >= 30, "astropy came without its tests' files"
    with tempfile.TemporaryDirectory() as folder:
        paths += [fitsgen.make(kind, os.path.join(folder, kind + ".fits"), 100)
                  for kind in sorted(fitsgen.EXTENSIONS)]
        found = layouts(hdus, paths)
        same = bad = 0
        for path in paths:
            want, got = expected(path), found[path]
            if got == want:
                same += 1
            elif want is not None:
                bad += 1
                print("%s\n  astropy %s\n  ours    %s" % (path, want, got))
    print("%d files, %d differ" % (same + bad, bad))
    return bad != 0 or same < 40


if __name__ == "__main__":
    sys.exit(main())
