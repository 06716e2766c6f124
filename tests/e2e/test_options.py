"""One table of options: what help lists is taken by -o, the environment and the config file."""
import os
import re
import subprocess

import pytest

import lib
from lib import fails, read, write

def options(m):
    """name -> default, from 'mastfs help mount'."""
    text = m.run("help", "mount").stdout
    text = text[text.index("Options"):]
    found = re.findall(r"^  ([a-z][a-z_]+)(?:=\S+)?  +", text, re.M)
    assert len(found) >= 15, text
    return found


def table():
    """name -> (type, default) from the source; every option is there, in one place: the rows
    of fs/options.c, and among them those of the stores."""
    with open(os.path.join(lib.TESTS, "..", "fs", "options.c")) as f:
        rows = re.findall(r'\{"([a-z_]+)", OPTION_([A-Z]+), AT\([a-z_]+\),\s*'
                          r'("[^"]*"|NULL|LOCAL_ONLY)', f.read())
    with open(os.path.join(lib.TESTS, "..", "backends", "settings.h")) as f:
        stores = re.findall(r'\t(TEXT|BOOL|COUNT)\(([a-z_]+), [a-z_]+,[\s\\]*("[^"]*")', f.read())
    assert len(rows) >= 15 and len(stores) >= 15
    initial = {"TEXT": "NULL", "BOOL": "no"}
    rows += [(name, kind, initial.get(kind, text)) for kind, name, text in stores]
    return {name: (kind, default.strip('"')) for name, kind, default in rows}


def value_of(name, kind, default):
    if kind in ("UID", "GID"):
        return "0"
    return {"local_only": "*.part", "NULL": None}.get(
        name if default == "LOCAL_ONLY" else default, default)


def test_help_lists_the_table(local, mount):
    m = mount(local, start=False)
    assert sorted(options(m)) == sorted(table())


def settings(m):
    rows = {n: value_of(n, *t) for n, t in table().items()}
    rows["cache_dir"] = m.cache
    return {n: v for n, v in rows.items() if v and n != "config"}


@pytest.mark.parametrize("way", ["-o", "environment", "file"])
def test_every_option_is_taken(local, mount, folder, way):
    """Each with its default, all at once."""
    local.put("k", b"v")
    m = mount(local, start=False)
    given, env = settings(m), m.env()
    if way == "-o":
        more = ["-o", ",".join("%s=%s" % i for i in given.items() if "," not in i[1])]
    elif way == "environment":
        env.update({"MASTFS_" + n.upper(): v for n, v in given.items()})
        more = []
    else:
        path = os.path.join(folder, "c.conf")
        write(path, "".join("%s = %s\n" % i for i in given.items()).encode())
        more = ["-o", "config=" + path]
    done = subprocess.run([lib.MASTFS, "mount", local.source, m.point, *more], env=env,
                          text=True, timeout=120, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(m.path("k")) == b"v"
    assert m.run("umount", m.point).returncode == 0


def test_what_wins(local, mount, folder):
    """-o over the environment over the file."""
    local.put("k", b"v")
    path = os.path.join(folder, "c.conf")
    write(path, b"umask = 077\nro = yes\nuid = 1\n")
    m = mount(local, config=path, uid=3,
              env={"MASTFS_UMASK": "027", "MASTFS_UID": "2"})
    st = os.stat(m.path("k"))
    assert (st.st_uid, oct(st.st_mode & 0o777)) == (3, oct(0o640))
    fails(30, write, m.path("n"), b"")


@pytest.mark.parametrize("opts,word", [
    ({"public": "ftp://x/y"}, "public ftp://x/y"),
    ({"public": "nowhere"}, "public nowhere"),
    ({"public": "SOURCE"}, "the source itself"),
    ({"public": "s3://me:pw@bucket"}, "password"),
    ({"storage_class": "raw=GLACIER IR"}, "storage_class"),
    ({"storage_class": "cooked=COLD"}, "cooked=COLD"),
    ({"storage_class": "raw=A:raw=B"}, "storage_class"),
    ({"sse": "rot13"}, "sse=rot13"),
    ({"sse_kms_key": "k"}, "sse=aws:kms"),
    ({"sse": "aws:kms", "sse_kms_key": "a b"}, "sse_kms_key"),
    ({"endpoint": "http://me:pw@host"}, "password"),
    ({"path_style": True, "virtual_host": True}, "exclude each other"),
    ({"requester_pays": "perhaps"}, "yes or no"),
    ({"mast_lookup": "perhaps"}, "yes or no"),
])
def test_bad_options_of_stores(local, mount, opts, word):
    """Refused before anything is mounted or forked, in one line that names the option."""
    opts = {k: local.source if v == "SOURCE" else v for k, v in opts.items()}
    m = mount(local, start=False, **opts)
    done = m.run(*m.command()[1:])
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and word in done.stderr, done.stderr
    assert ":pw@" not in done.stderr
    assert not lib.mounted(m.point)


def test_unknown_source_says_what_there_is(local, mount):
    m = mount(local, start=False)
    done = m.run("mount", "ftp://host/dir", m.point)
    assert done.returncode == 2
    for known in ("s3://", "az://", "gs://", "file:///", "mast:"):
        assert known in done.stderr, done.stderr


@pytest.mark.parametrize("env,word", [
    ({"STORAGE_BACKEND": "tape"}, "local, s3, minio, azure, gcs and mast"),
    ({"STORAGE_BACKEND": "gcs"}, "STORAGE_BUCKET"),
    ({"STORAGE_BACKEND": "minio", "STORAGE_BUCKET": "b"}, "S3_ENDPOINT_URL"),
    ({"STORAGE_BACKEND": "azure", "STORAGE_BUCKET": "c"}, "AZURE_STORAGE_ACCOUNT"),
    ({"STORAGE_BACKEND": "azure", "AZURE_STORAGE_ACCOUNT": "a"}, "STORAGE_BUCKET"),
    ({"STORAGE_BACKEND": "azure", "STORAGE_BUCKET": "c",
      "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=planted"}, "AccountName"),
])
def test_environment_that_names_no_bucket(local, mount, env, word):
    m = mount(local, start=False, env=env)
    done = m.run("mount", m.point)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and word in done.stderr, done.stderr
    assert "planted" not in done.stderr


@pytest.mark.parametrize("lazily", [[], ["-l"]])
def test_a_mistake_in_a_file_keeps_no_mount(local, mount, folder, lazily):
    """It may have been made since: what cannot be understood is told, and the mount goes."""
    m = mount(local)
    path = os.path.join(folder, "c.conf")
    write(path, b"cache_sise = 1G\n")
    m.extra_env = {"MASTFS_CONFIG": path}
    done = m.run("umount", *lazily, m.point)
    assert done.returncode == 0, done.stderr
    assert ("cache_sise" in done.stderr) == (not lazily), done.stderr
    assert not lib.mounted(m.point)
    m.process.wait(60)
    m.process = None


def test_a_mistake_of_who_unmounts(local, mount):
    m = mount(local)
    done = m.run("umount", "-o", "drain=soon", m.point)
    assert done.returncode == 2 and "drain" in done.stderr and len(done.stderr.split("\n")) == 2
    assert lib.mounted(m.point)
