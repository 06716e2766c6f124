"""fitsjobs.py - what astronomers' programs do to FITS files, by astropy (see jobs.py).

A path that begins with s3:// is read by python s3fs, without a mount."""
import hashlib
import io
import os
import random
import time

CUTOUTS, SIDE = 20, 100
now = time.monotonic


def opened(path, **kwargs):
    from astropy.io import fits
    if path.startswith("s3://"):
        kwargs.pop("memmap", None)
        kwargs.update(use_fsspec=True, fsspec_kwargs={
            "client_kwargs": {"endpoint_url": os.environ["BENCH_ENDPOINT"]}})
    return fits.open(path, **kwargs)


def warm(local):
    """Everything that astropy and fsspec import late."""
    if "BENCH_ENDPOINT" in os.environ:
        import s3fs  # noqa: F401
    with opened(local) as hdus:
        hdus.info(output=io.StringIO())
        return [h.header.tostring() for h in hdus]


def result(start, **figures):
    end = now()
    return {"start": start, "end": end, "s": end - start, **figures}


def on_disk(job):
    """The same of the local copy: what the program itself costs."""
    start = now()
    job()
    return {"s": now() - start}


def first_header(path, local):
    want = warm(local)[0]

    def job(name):
        with opened(name) as hdus:
            return hdus[0].header.tostring()
    yield
    start = now()
    got = job(path)
    done = result(start)
    done["limit"] = on_disk(lambda: job(local))
    assert got == want, "the header differs"
    yield done


def info(path, local):
    want = warm(local)

    def job(name):
        with opened(name) as hdus:
            hdus.info(output=io.StringIO())
            return [h.header.tostring() for h in hdus]
    yield
    start = now()
    got = job(path)
    done = result(start)
    done["limit"] = on_disk(lambda: job(local))
    assert got == want, "headers differ"
    yield done


def cutouts(path, local, how, seed):
    warm(local)
    rng = random.Random(seed)
    with opened(local) as hdus:
        high, wide = hdus["SCI"].shape
    spots = [(rng.randrange(high - SIDE), rng.randrange(wide - SIDE)) for _ in range(CUTOUTS)]

    def job(name):
        with opened(name, memmap=how == "mmap") as hdus:
            sci, got = hdus["SCI"], []
            for y, x in spots:
                image = sci.data if how == "mmap" else sci.section
                got.append(bytes(image[y:y + SIDE, x:x + SIDE].tobytes()))
            return got
    yield
    start = now()
    got = job(path)
    done = result(start)
    done["limit"] = on_disk(lambda: job(local))
    assert got == job(local), "pixels differ"
    yield done


def whole(path, local):
    """As stdatamodels opens a model: a probe, the ASDF at the tail, every header (which it
    hashes), each array, nothing by mmap."""
    warm(local)

    def job(name):
        if not name.startswith("s3://"):
            with open(name, "rb") as f:
                assert f.read(6) == b"SIMPLE"
        with opened(name, memmap=False) as hdus:
            tree, sha = hdus["ASDF"].data.tobytes(), hashlib.sha256()
            for h in hdus:
                sha.update(h.header.tostring().encode())
            return tree, sha.hexdigest(), [h.data for h in hdus[1:-1]]
    yield
    start = now()
    got = job(path)
    done = result(start)
    want = job(local)
    assert got[:2] == want[:2], "headers differ"
    assert all(a.tobytes() == b.tobytes() for a, b in zip(got[2], want[2])), "pixels differ"
    yield done
