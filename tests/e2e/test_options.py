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
    """name -> (type, default, min) from the source; every option is there, in one place."""
    with open(os.path.join(lib.TESTS, "..", "fs", "options.c")) as f:
        rows = re.findall(r'\{"([a-z_]+)", OPTION_([A-Z]+), AT\([a-z_]+\),\s*'
                          r'("[^"]*"|NULL|LOCAL_ONLY)', f.read())
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
