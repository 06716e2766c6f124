"""The public archive: what is where, what it costs, and what it takes to notice a change."""
import errno
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

import pytest

import lib
import mkarchive
import s3ctl
from lib import fails, read, same, wait

BUCKET = "stpubdata"
OBS = mkarchive.IMAGING[0]
CAL = OBS + "_cal.fits"
CAL_KEY = mkarchive.exposure_key(CAL)
MOSAIC = mkarchive.MOSAICS[0]
GIB = 1 << 30
FILES = ["_cal.fits", "_i2d.fits", "_i2d.jpg", "_i2d_thumb.jpg", "_o001_crf.fits", "_rate.fits",
         "_uncal.fits"]


@pytest.fixture(scope="session")
def products(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("products"))
    keys = mkarchive.make(folder)
    return {key: os.path.join(folder, key) for key in keys}


class Archive:
    """A scripted server that anybody may read, and the user's own store is elsewhere."""
    source = "mast:"

    def __init__(self, folder, products):
        self.server = s3ctl.S3d(folder, "--anonymous", bucket=BUCKET)
        for key, path in products.items():
            self.server.put(key, path=path)
        # What belongs to the user's own store must not come near the archive.
        self.env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "eu-nowhere-1",
                    "AWS_ACCESS_KEY_ID": "CANARYKEY", "AWS_SECRET_ACCESS_KEY": "canarysecret",
                    "AWS_PROFILE": "there-is-none"}
        self.opts = {"mast_endpoint": self.server.url}

    def asked(self):
        """Requests since mark()."""
        return ["%s %s %s" % (r["method"], r["key"], urllib.parse.unquote(r["query"]))
                for r in self.server.new()]


@pytest.fixture
def archive(folder, products):
    made = Archive(folder, products)
    yield made
    made.server.stop()


@pytest.fixture
def m(archive, mount):
    made = mount(archive, **archive.opts)
    archive.server.mark()
    return made


def content(products, key):
    return read(products[key])


def test_ls_of_an_observation_is_one_list(archive, m):
    assert sorted(os.listdir(m.path(OBS))) == [OBS + end for end in FILES]
    got = archive.asked()
    assert len(got) == 1 and "list-type=2" in got[0] and "delimiter=/" in got[0], got
    archive.server.mark()
    done = subprocess.run(["ls", "-l", m.path(OBS)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.count(b"\n") == 1 + len(FILES)
    for end in FILES:
        os.stat(m.path(OBS, OBS + end))
    assert archive.asked() == []


@pytest.mark.parametrize("path", [
    os.path.join(OBS, CAL), os.path.join("mastDownload", "JWST", OBS, CAL), CAL_KEY,
    mkarchive.combined_key(MOSAIC + "_i2d.fits"), os.path.join(MOSAIC, MOSAIC + "_i2d.fits")])
def test_stat_of_a_full_path_is_one_request(archive, m, products, path):
    key = mkarchive.exposure_key(CAL) if "_cal" in path else mkarchive.combined_key(
        MOSAIC + "_i2d.fits")
    assert os.stat(m.path(path)).st_size == os.path.getsize(products[key])
    assert len(archive.asked()) == 1, archive.asked()
    archive.server.mark()
    assert not os.path.exists(m.path(path + "x"))  # no JWST name, and no directory
    os.stat(m.path(path))
    assert len(archive.asked()) <= 1, archive.asked()


def test_the_same_bytes_under_every_path(archive, m, products):
    want = content(products, CAL_KEY)
    for path in (os.path.join(OBS, CAL), os.path.join("mastDownload", "JWST", OBS, CAL), CAL_KEY,
                 CAL_KEY[len(mkarchive.PUBLIC):]):
        same(read(m.path(path)), want)
    asn = "jw02731-o001_20240101t000000_image3_00001_asn.json"
    same(read(m.path(MOSAIC, asn)), content(products, mkarchive.combined_key(asn)))
    pool = "jw02731_20240101t000000_pool.csv"
    same(read(m.path(OBS, pool)), content(products, mkarchive.PUBLIC + "jw02731/" + pool))
    assert m.path(OBS, CAL) and not [r for r in archive.server.new() if r["status"] == 403]


def test_every_product_has_its_path(archive, m, products):
    for key in products:
        name = key.rsplit("/", 1)[1]
        obs = name.rsplit("_", 1)[0]
        if obs.endswith(("_i2d", "_o001")):
            obs = obs.rsplit("_", 1)[0]
        if name.endswith(("_asn.json", "_pool.csv")):
            obs = OBS
        assert os.path.getsize(m.path(obs, name)) == os.path.getsize(products[key]), name


def test_programs_and_visits_are_listed_level_by_level(archive, m):
    assert sorted(os.listdir(m.point)) == ["jwst"]
    assert archive.asked() == []
    assert sorted(os.listdir(m.path("jw02731"))) == [
        "L3", "jw02731001001", "jw02731_20240101t000000_pool.csv"]
    assert os.listdir(m.path("jw02731", "L3", "t")) == ["o001"]
    assert len(os.listdir(m.path("jw02731", "jw02731001001"))) == 4 * len(FILES) + 1
    assert os.listdir(m.path("jwst", "public", "jw01345")) and \
        os.listdir(m.path("jwst", "public")) == ["jw01345", "jw02731"]
    found = lib.tree(m.path("jwst", "public", "jw01345"))
    assert len([name for name, size in found.items() if size is not None]) == 9
    assert "jw02731" in wait("the root knows it", lambda: os.listdir(m.point), 5)
    listed = [r for r in archive.asked() if "list-type" in r]
    assert all("delimiter=/" in r for r in listed), listed
    assert len(set(listed)) == len(listed), listed


def test_what_is_not_there(archive, m):
    for path in ("jw99999", "jw99999/L3", "jw99999001001_02101_00001_nrcb1",
                 "jw99999001001_02101_00001_nrcb1/jw99999001001_02101_00001_nrcb1_cal.fits",
                 os.path.join(OBS, OBS + "_s3d.fits")):
        fails(errno.ENOENT, os.stat, m.path(path))
    assert "exclusive-access data or not public" in m.log()
    count = len(archive.asked())
    for path in ("jw2731", "own", "own.txt", "jw02731001001_02101_00001_NRCB1", "hst",
                 "mastDownload/HST", "mastDownload/JWST/own", "jwst/private",
                 os.path.join(OBS, "jw02732001001_02101_00001_nrcb1_cal.fits")):
        fails(errno.ENOENT, os.stat, m.path(path))
    assert len(archive.asked()) == count, archive.asked()
    assert os.listdir(m.path("jwst", "public", "jw88888")) == []
    for path in ("jw99999", "jw99999001001_02101_00001_nrcb1"):
        fails(errno.ENOENT, os.stat, m.path(path))


def test_a_listing_hides_nothing_that_has_a_path(archive, m):
    """The root cannot be listed, an observation's directory has its own files only (P10)."""
    asn = "jw02731-o001_20240101t000000_image3_00001_asn.json"
    for folder in ("", "mastDownload/JWST", "jwst/public", OBS):
        os.listdir(m.path(folder))
    for path in (MOSAIC, "mastDownload/JWST/" + OBS, "jw02731", "jwst/public/jw01345",
                 OBS + "/" + asn):
        os.stat(m.path(path))
    for _ in range(2):
        fails(errno.ENOENT, os.stat, m.path(OBS, asn.replace("00001", "00009")))
    assert len([r for r in archive.asked() if "00009" in r]) == 1
    assert asn not in os.listdir(m.path(MOSAIC))


def test_what_is_not_public(archive, m):
    archive.server.rule("refuse_auth", key="nrcb2_cal", status=403)
    path = m.path(mkarchive.exposure_key(mkarchive.IMAGING[1] + "_cal.fits"))
    fails(errno.EACCES, os.stat, path)
    fails(errno.EACCES, open, path, "rb")
    assert m.log().count("exclusive-access data or not public") == 1, m.tail()
    assert os.path.exists(m.path(OBS, CAL))


def test_nothing_is_written(archive, m):
    path = m.path(OBS, CAL)
    fails(errno.EROFS, open, path, "ab")
    fails(errno.EROFS, open, m.path(OBS, "new.txt"), "wb")
    fails(errno.EROFS, os.unlink, path)
    fails(errno.EROFS, os.rename, path, path + "x")
    fails(errno.EROFS, os.mkdir, m.path("new"))
    assert all(r.split()[0] in ("GET", "HEAD") for r in archive.asked())


def test_no_credentials_come_near_it(archive, mount):
    archive.server.rule("status", header="authorization", status=400, code="Signed")
    m = mount(archive, **archive.opts)
    read(m.path(OBS, CAL))
    assert "Signed" not in m.log()
    assert "CANARY" not in m.log() and "canary" not in m.log()
    assert os.getxattr(m.path(OBS, CAL), "user.mastfs.origin").decode() == \
        "s3://%s/%s" % (BUCKET, CAL_KEY)


def test_header_of_a_gigabyte_is_two_requests(archive, folder, products, mount):
    """Of the file with the real structure, whose last array goes on to 1 GB."""
    fits = pytest.importorskip("astropy.io.fits")
    path = os.path.join(folder, "big")
    with open(path, "wb") as f:
        f.write(content(products, CAL_KEY))
        f.truncate(GIB)
    archive.server.put(CAL_KEY, path=path)
    os.unlink(path)
    m = mount(archive, **archive.opts)
    archive.server.mark()
    header = fits.getheader(m.path(OBS, CAL))
    assert header["TELESCOP"] == "JWST"
    got = archive.server.new()
    assert len(got) <= 2, archive.asked()
    assert sum(r["sent"] for r in got) <= 1 << 20, [r["sent"] for r in got]
    assert os.stat(m.path(OBS, CAL)).st_size == GIB


def test_many_hdus(archive, m):
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(m.path(mkarchive.MOS, mkarchive.MOS + "_cal.fits")) as hdus:
        assert len(hdus) == 602
        assert hdus["SCI", 60].data.shape == (4, mkarchive.SIDE)


def test_a_reprocessed_product_is_noticed_at_the_next_open(archive, products, mount):
    m = mount(archive, ttl="1s", **archive.opts)
    path = m.path(OBS, CAL)
    same(read(path), content(products, CAL_KEY))
    with open(path, "rb") as old:
        old.read(10)
        other = content(products, mkarchive.exposure_key(OBS + "_rate.fits"))
        archive.server.put(CAL_KEY, other)
        time.sleep(1.2)
        same(read(path), other)
        assert os.stat(path).st_size == len(other)
        old.seek(0)  # what was open keeps its version, or fails (P1)
        try:
            same(old.read(), content(products, CAL_KEY))
        except OSError as err:
            assert err.errno == errno.ESTALE, err


def test_listings_are_believed_longer_than_ttl(archive, mount):
    m = mount(archive, ttl="1s", **archive.opts)
    os.listdir(m.path(OBS))
    time.sleep(1.2)
    archive.server.mark()
    os.listdir(m.path(OBS))
    os.stat(m.path(OBS, CAL))
    fails(errno.ENOENT, os.stat, m.path(OBS, OBS + "_s3d.fits"))
    assert archive.asked() == []


def test_an_archive_that_is_away(archive, products, mount):
    m = mount(archive, ttl="1s", read_timeout="3s", **archive.opts)
    same(read(m.path(OBS, CAL)), content(products, CAL_KEY))
    archive.server.stop()
    time.sleep(1.2)
    same(read(m.path(OBS, CAL)), content(products, CAL_KEY))
    assert len(os.listdir(m.path(OBS))) == len(FILES)
    began = time.monotonic()
    with pytest.raises(OSError) as err:
        os.listdir(m.path(MOSAIC))
    assert err.value.errno in (errno.ETIMEDOUT, errno.EIO), err.value
    assert time.monotonic() - began < 30 * lib.SLOW


def test_a_mount_of_an_archive_that_is_away(archive, mount):
    port = lib.free_port()
    m = mount(archive, mast_endpoint="http://127.0.0.1:%d" % port, read_timeout="3s")
    assert "cannot be reached" in m.log()
    assert os.listdir(m.point) == ["jwst"]
    with pytest.raises(OSError) as err:
        os.stat(m.path(OBS))
    assert err.value.errno in (errno.ETIMEDOUT, errno.EIO), err.value


def test_a_bucket_that_is_not_there(archive, mount):
    m = mount(archive, start=False, mast_bucket="not-there", **archive.opts)
    done = subprocess.run(m.command("-f"), env=m.env(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60 * lib.SLOW)
    assert done.returncode != 0 and b"not-there" in done.stdout, done.stdout


@pytest.mark.parametrize("path", [os.path.join(OBS, CAL), CAL_KEY,
                                  os.path.join("mastDownload", "JWST", OBS, CAL)])
def test_under_a_bucket_it_costs_the_same(archive, local, mount, products, path):
    local.put("own.txt", b"own")
    m = mount(local, public="mast:", **archive.opts)
    os.listdir(m.point)
    archive.server.mark()
    assert os.stat(m.path(path)).st_size == os.path.getsize(products[CAL_KEY])
    assert len(archive.asked()) == 1, archive.asked()
    same(read(m.path(path)), content(products, CAL_KEY))
    archive.server.mark()
    fails(errno.ENOENT, os.stat, m.path("other.txt"))
    fails(errno.ENOENT, os.stat, m.path("other"))
    assert archive.asked() == []


class Lookup(http.server.BaseHTTPRequestHandler):
    """MAST's service: knows one product that follows no rule."""
    known = {"mast:JWST/product/odd_name.fits": {"path": "/" + CAL_KEY[:-len(CAL)] +
                                                 "odd_name.fits"}}

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        uri = query["uri"][0]
        self.server.asked.append(uri)
        body = json.dumps({uri: self.known.get(uri, {"path": None})}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def service():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lookup)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_names_without_a_rule_are_asked_for_when_that_is_on(archive, service, mount):
    archive.server.put(CAL_KEY[:-len(CAL)] + "odd_name.fits", b"odd")
    url = "http://127.0.0.1:%d" % service.server_port
    m = mount(archive, mast_service=url, **archive.opts)
    fails(errno.ENOENT, os.stat, m.path("some", "odd_name.fits"))
    assert service.asked == []
    m.umount()
    m = mount(archive, mast_service=url, mast_lookup=True, **archive.opts)
    del service.asked[:]
    fails(errno.ENOENT, os.stat, m.path(OBS, "nothing.fits"))
    same(read(m.path(OBS, "odd_name.fits")), b"odd")
    assert service.asked == ["mast:JWST/product/nothing.fits", "mast:JWST/product/odd_name.fits"]


class PublicMinio:
    """A real server with a policy that lets anybody read."""
    source, env = "mast:", {}

    def __init__(self, server):
        self.s3, self.bucket = server.s3, "archive" + os.urandom(4).hex()
        mkarchive.upload(self.s3, self.bucket)
        self.opts = {"mast_endpoint": server.url, "mast_bucket": self.bucket}


def test_over_minio(minio_server, products, mount):
    public = PublicMinio(minio_server)
    m = mount(public, ttl="1s", **public.opts)
    assert sorted(os.listdir(m.path(OBS))) == [OBS + end for end in FILES]
    same(read(m.path(OBS, CAL)), content(products, CAL_KEY))
    key = mkarchive.combined_key(MOSAIC + "_i2d.fits")
    same(read(m.path("mastDownload", "JWST", MOSAIC, MOSAIC + "_i2d.fits")),
         content(products, key))
    same(read(m.path(key)), content(products, key))
    assert sorted(os.listdir(m.path("jw01050"))) == ["L3", "jw01050001001"]
    fails(errno.ENOENT, os.stat, m.path("jw99999"))
    fails(errno.EROFS, os.unlink, m.path(OBS, CAL))
    public.s3.put_object(Bucket=public.bucket, Key=CAL_KEY, Body=b"reprocessed")
    time.sleep(1.2)
    same(read(m.path(OBS, CAL)), b"reprocessed")
