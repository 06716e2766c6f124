#!/usr/bin/python3
"""mkarchive.py - a small archive of synthetic JWST products, with the public one's keys.

  mkarchive.py DIR                            files below DIR, named by their keys
  mkarchive.py --endpoint URL --bucket NAME   objects of a bucket that anybody may read,
                                              made by the keys in AWS_ACCESS_KEY_ID ...

Programs: 02731 imaging and its mosaics of two targets, 01050 an IFU, 01345 a MOS exposure
of 602 HDUs and the spectra of its sources.  The structure is that of real products, the
images are tiny.  The same version of this file makes the same bytes for ever.
"""
import argparse
import io
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fitsgen  # noqa: E402

SIDE = 8
SLITS = 60
SLIT_EXTENSIONS = [("SCI", -32), ("DQ", 32), ("ERR", -32), ("WAVELENGTH", -32),
                   ("BARSHADOW", -32), ("VAR_POISSON", -32), ("VAR_RNOISE", -32),
                   ("VAR_FLAT", -32), ("PATHLOSS_PS", -32), ("PATHLOSS_UN", -32)]
IFU_EXTENSIONS = [("SCI", -32), ("ERR", -32), ("DQ", 32), ("WMAP", -32)]
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00%s\xff\xd9"
PUBLIC = "jwst/public/"


# --- products ---

def by_fitsgen(kind, name):
    with tempfile.TemporaryDirectory() as folder:
        path = fitsgen.make(kind, os.path.join(folder, name), SIDE, name)
        with open(path, "rb") as f:
            return f.read()


def ifu(name):
    out = io.BytesIO()
    out.write(fitsgen.primary(name, "s3d"))
    for title, bitpix in IFU_EXTENSIONS:
        fitsgen.image(out, title, bitpix, [SIDE, SIDE, 32], name,
                      fitsgen.wcs(SIDE) if title == "SCI" else ())
    fitsgen.asdf(out, 4000)
    return out.getvalue()


def mos(name):
    """A header, ten extensions a slit, and ASDF: 602 HDUs."""
    out = io.BytesIO()
    out.write(fitsgen.primary(name, "cal"))
    for slit in range(1, SLITS + 1):
        for title, bitpix in SLIT_EXTENSIONS:
            fitsgen.image(out, title, bitpix, [SIDE, 4], "%s %d" % (name, slit),
                          [fitsgen.card("EXTVER", slit)])
    fitsgen.asdf(out, 40000)
    return out.getvalue()


def product(name):
    suffix = name.rsplit(".", 1)[0].rsplit("_", 1)[1]
    if name.endswith(".jpg"):
        return JPEG % name.encode()
    if name.endswith(".ecsv"):
        return b"# %ECSV 1.0\n# ---\nlabel flux\n1 2.5\n"
    if suffix == "s3d":
        return ifu(name)
    if suffix == "cal" and "_nrs1_" in name and name.startswith("jw01345"):
        return mos(name)
    return by_fitsgen({"crf": "cal", "c1d": "x1d"}.get(suffix, suffix), name)


def association(product_name, members):
    asn = {"asn_type": "image3", "asn_pool": "none", "products": [
        {"name": product_name,
         "members": [{"expname": m, "exptype": "science"} for m in members]}]}
    return json.dumps(asn, indent=1).encode()


def pool(names):
    return ("filename|obs_num|program\n" + "".join(
        "%s|%s|%s\n" % (n, n[7:10], n[2:7]) for n in names)).encode()


# --- what the archive has ---

IMAGING = ["jw02731001001_02101_0000%d_%s" % (n, d) for n in (1, 2) for d in ("nrcb1", "nrcb2")]
MOSAICS = ["jw02731-o001_t017_nircam_clear-f200w", "jw02731-o001_t017_nircam_clear-f444w-sub64p",
           "jw02731-o001_t018_nircam_clear-f200w"]
IFU = "jw01050001001_02101_00001_mirifushort"
MOS = "jw01345066001_03101_00001_nrs1"
SOURCES = ["jw01345-o066_s00000010%d_nirspec_clear-prism" % n for n in (1, 2, 3)]


def exposure_key(name):
    return "%s%s/%s/%s" % (PUBLIC, name[:7], name[:13], name)


def combined_key(name):
    group = name.split("_")[0].split("-")[1]
    return "%s%s/L3/t/%s/%s" % (PUBLIC, name[:7], group, name)


def names():
    """(key, name) of everything that product() makes."""
    for obs in IMAGING:
        for end in ("uncal.fits", "rate.fits", "cal.fits", "o001_crf.fits", "i2d.fits",
                    "i2d.jpg", "i2d_thumb.jpg"):
            yield exposure_key("%s_%s" % (obs, end))
    yield exposure_key("jw02731001001_gs-fg_2022154034506_cal.fits")
    for obs in MOSAICS:
        for end in ("i2d.fits", "cat.ecsv", "i2d.jpg", "i2d_thumb.jpg"):
            yield combined_key("%s_%s" % (obs, end))
    for end in ("rate.fits", "cal.fits", "s3d.fits", "x1d.fits"):
        yield exposure_key("%s_%s" % (IFU, end))
    for end in ("s3d.fits", "x1d.fits"):
        yield combined_key("jw01050-o001_t001_miri_ch1-short_" + end)
    for end in ("uncal.fits", "cal.fits", "x1d.fits"):
        yield exposure_key("%s_%s" % (MOS, end))
    for obs in SOURCES:
        for end in ("x1d.fits", "c1d.fits"):
            yield combined_key("%s_%s" % (obs, end))


def objects():
    """(key, bytes) of the whole archive, by key."""
    cals = [obs + "_cal.fits" for obs in IMAGING]
    made = {key: None for key in names()}
    for number, mosaic in enumerate(MOSAICS, 1):
        name = "jw02731-o001_20240101t000000_image3_%05d_asn.json" % number
        made[combined_key(name)] = association(mosaic, cals)
    made[PUBLIC + "jw02731/jw02731_20240101t000000_pool.csv"] = pool(IMAGING)
    for key in sorted(made):
        data = made[key]
        yield key, product(key.rsplit("/", 1)[1]) if data is None else data


def make(folder):
    """Files below folder; returns their keys."""
    keys = []
    for key, data in objects():
        path = os.path.join(folder, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        keys.append(key)
    return keys


# --- a bucket ---

def publish(s3, bucket):
    """Anybody may list and read it, and nothing else."""
    arn = "arn:aws:s3:::" + bucket
    allow = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({
        "Version": "2012-10-17", "Statement": [
            {**allow, "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": [arn]},
            {**allow, "Action": ["s3:GetObject"], "Resource": [arn + "/*"]}]}))


def upload(s3, bucket):
    s3.create_bucket(Bucket=bucket)
    publish(s3, bucket)
    for key, data in objects():
        s3.put_object(Bucket=bucket, Key=key, Body=data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--endpoint")
    parser.add_argument("--bucket", default="stpubdata")
    opts = parser.parse_args()
    if bool(opts.folder) == bool(opts.endpoint):
        parser.error("a directory or --endpoint, one of them")
    if opts.folder:
        make(opts.folder)
    else:
        import boto3
        upload(boto3.client("s3", endpoint_url=opts.endpoint, region_name="us-east-1"),
               opts.bucket)


if __name__ == "__main__":
    main()
