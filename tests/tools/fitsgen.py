#!/usr/bin/python3
"""fitsgen.py - makes files that look like JWST products.  Standard library only.

  fitsgen.py KIND OUT [--size N] [--seed S]      KIND: uncal rate cal i2d s3d x1d

The extensions, their order and types, and the length of the headers are those of real
products; N is the width of an image in pixels (2048 in real ones: a cal is then 117 MB).
Pixels are finite.  The same arguments give the same bytes for ever.
"""
import argparse
import hashlib
import struct

BLOCK = 2880
EXTENSIONS = {  # name, BITPIX, planes
    "uncal": [("SCI", 16, 7), ("ZEROFRAME", 16, 1)],
    "rate": [("SCI", -32, 0), ("ERR", -32, 0), ("DQ", 32, 0), ("VAR_POISSON", -32, 0),
             ("VAR_RNOISE", -32, 0)],
    "cal": [("SCI", -32, 0), ("ERR", -32, 0), ("DQ", 32, 0), ("AREA", -32, 0),
            ("VAR_POISSON", -32, 0), ("VAR_RNOISE", -32, 0), ("VAR_FLAT", -32, 0)],
    "i2d": [("SCI", -32, 0), ("ERR", -32, 0), ("CON", 32, 1), ("WHT", -32, 0),
            ("VAR_POISSON", -32, 0), ("VAR_RNOISE", -32, 0), ("VAR_FLAT", -32, 0)],
    "s3d": [("SCI", -32, 64), ("ERR", -32, 64), ("DQ", 32, 64), ("WMAP", -32, 64)],
    "x1d": [],
}


def card(key, value=None, comment=""):
    if value is None:
        return key.ljust(80)[:80].encode()
    if isinstance(value, bool):
        text = ("T" if value else "F").rjust(20)
    elif isinstance(value, str):
        text = ("'%-8s'" % value).ljust(20)
    else:
        text = ("%.12G" % value if isinstance(value, float) else str(value)).rjust(20)
    line = "%-8s= %s" % (key, text)
    return (line + (" / " + comment if comment else "")).ljust(80)[:80].encode()


def header(cards):
    data = b"".join(cards) + b"END".ljust(80)
    return data.ljust(-(-len(data) // BLOCK) * BLOCK)


def primary(name, kind):
    cards = [card("SIMPLE", True, "conforms to FITS standard"), card("BITPIX", 8),
             card("NAXIS", 0), card("EXTEND", True), card("DATE", "2026-01-01T00:00:00.000"),
             card("ORIGIN", "STSCI"), card("TELESCOP", "JWST", "Telescope"),
             card("INSTRUME", "NIRCAM", "Instrument"), card("DETECTOR", "NRCA1"),
             card("FILTER", "F200W"), card("PUPIL", "CLEAR"), card("EXP_TYPE", "NRC_IMAGE"),
             card("DATAMODL", "ImageModel"), card("FILENAME", name[:60]),
             card("CAL_VER", "1.20.0"), card("PROGRAM", "02733"), card("TARGNAME", "NGC 3132"),
             card("EFFEXPTM", 1503.142), card("PRODTYPE", kind)]
    cards += [card("KEY%05d" % i, i * 1.5, "a keyword with a comment") for i in range(230)]
    return header(cards)


def wcs(n):
    cards = [card("WCSAXES", 2), card("CTYPE1", "RA---TAN-SIP"), card("CTYPE2", "DEC--TAN-SIP"),
             card("CRPIX1", n / 2), card("CRPIX2", n / 2), card("CRVAL1", 151.757),
             card("CRVAL2", -40.436), card("CDELT1", 8.6e-06), card("CDELT2", 8.6e-06),
             card("CUNIT1", "deg"), card("CUNIT2", "deg"), card("BUNIT", "MJy/sr")]
    return cards + [card("A_%d_%d" % (i // 8, i % 8), i * 1e-09) for i in range(40)]


def stream(seed, size):
    """Deterministic bytes, fast: a hash makes 1 MiB, its rotations make the rest."""
    base = hashlib.shake_128(("%s" % seed).encode()).digest(min(size, 1 << 20))
    turn = 0
    while size > 0:
        cut = turn * 8 % len(base)
        piece = (base[cut:] + base[:cut])[:size]
        yield piece
        size -= len(piece)
        turn += 509


def pixels(piece, bitpix):
    """Finite floats of modest size: sign and exponent are fixed to make [1, 2)."""
    if bitpix != -32:
        return piece
    data = bytearray(piece)
    data[0::4] = b"\x3f" * len(data[0::4])
    data[1::4] = bytes(data[1::4]).translate(bytes(b | 0x80 for b in range(256)))
    return data


def image(out, name, bitpix, axes, seed, extra=()):
    cards = [card("XTENSION", "IMAGE", "Image extension"), card("BITPIX", bitpix),
             card("NAXIS", len(axes))]
    cards += [card("NAXIS%d" % (i + 1), n) for i, n in enumerate(axes)]
    cards += [card("PCOUNT", 0), card("GCOUNT", 1), card("EXTNAME", name), *extra]
    if bitpix == 16:
        cards += [card("BSCALE", 1), card("BZERO", 32768)]
    out.write(header(cards))
    size = abs(bitpix) // 8
    for n in axes:
        size *= n
    for piece in stream("%s %s" % (seed, name), size):
        out.write(pixels(piece, bitpix))
    out.write(b"\0" * (-size % BLOCK))


def table(out, name, columns, rows):
    """columns: (name, TFORM, bytes of one cell)."""
    width = sum(len(c[2]) for c in columns)
    cards = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2),
             card("NAXIS1", width), card("NAXIS2", rows), card("PCOUNT", 0),
             card("GCOUNT", 1), card("TFIELDS", len(columns)), card("EXTNAME", name)]
    for i, (title, form, _) in enumerate(columns, 1):
        cards += [card("TTYPE%d" % i, title), card("TFORM%d" % i, form)]
    out.write(header(cards))
    row = b"".join(c[2] for c in columns)
    out.write(row * rows)
    out.write(b"\0" * (-width * rows % BLOCK))


def asdf(out, size):
    text = (b"#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n--- !core/asdf-1.1.0\n"
            b"meta: {telescope: JWST}\n").ljust(size - 4, b"#") + b"...\n"
    table(out, "ASDF", [("ASDF_METADATA", "%dB" % size, text)], 1)


def make(kind, path, n=2048, seed=1):
    with open(path, "wb") as out:
        out.write(primary(path.rsplit("/", 1)[-1], kind))
        for name, bitpix, planes in EXTENSIONS[kind]:
            side = 45 if kind == "s3d" else n
            axes = [side, side] + ([planes] if planes else [])
            image(out, name, bitpix, axes, seed, wcs(side) if name == "SCI" else ())
        if kind == "i2d":
            table(out, "HDRTAB", [("K%d" % i, "20A", b"x".ljust(20)) for i in range(340)], 12)
        if kind == "x1d":
            cell = struct.pack(">d", 1.25)
            table(out, "EXTRACT1D", [("C%d" % i, "D", cell) for i in range(18)], 1213)
        if kind == "uncal":
            table(out, "INT_TIMES", [("integration_number", "J", struct.pack(">i", 1))]
                  + [("t%d" % i, "D", struct.pack(">d", 59770.5)) for i in range(6)], 1)
        asdf(out, 40000)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=sorted(EXTENSIONS))
    parser.add_argument("out")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    opts = parser.parse_args()
    make(opts.kind, opts.out, opts.size, opts.seed)


if __name__ == "__main__":
    main()
