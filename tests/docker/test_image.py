"""The image: what is in it, and what it does with its environment."""
import json
import os
import re

import pytest

from engine import BASE, IMAGE, NETWORK, ROOT, Daemon
from lib import read, wait, write

SECRET = "cAnArY-9f31"


class TestWhatIsInIt:
    def test_size(self, engine, bar):
        """Only what runs, and no more than README says: it is listed, layer by layer."""
        size = {name: engine.inspect(name, "{{json .Size}}") for name in (BASE, IMAGE)}
        more = (size[IMAGE] - size[BASE]) / 1e6
        told = int(re.search(r"\((\d+) MB over `%s`\)" % BASE,
                             read(os.path.join(ROOT, "README.md")).decode()).group(1))
        bar("image: %.1f MB over %s (bar: %d MB)", more, BASE, told)
        for line in engine.docker("history", "--no-trunc", "--format",
                                  "{{.Size}}\t{{.CreatedBy}}", IMAGE).splitlines():
            layer, by = line.split("\t", 1)
            if layer != "0B":
                bar("  layer %8s  %s", layer, re.sub(r"\s+", " ", by)[:70])
        assert 0 < more <= told

    def test_what_it_declares(self, engine):
        conf = engine.inspect(IMAGE, "{{json .Config}}")
        assert conf["Volumes"] == {"/var/cache/mastfs": {}}
        assert conf["Entrypoint"] == ["mastfs"] and conf["Cmd"] == ["mount", "-f"]
        assert conf["Healthcheck"]["Test"] == ["CMD", "mastfs", "status", "--quiet"]
        assert conf["Healthcheck"]["Timeout"] > 0
        # Nobody's keys, and no file of the build.
        assert not re.search("KEY|SECRET|TOKEN", json.dumps(conf["Env"]))
        assert engine.docker("run", "--rm", "--network", "none", "--entrypoint", "sh", IMAGE, "-c",
                             "ls /src /build 2>/dev/null || true; command -v gcc || true") == ""

    def test_version_and_help(self, engine):
        for args, words in ((["version"], "mastfs "), (["help", "mount"], "MASTFS_SOURCE")):
            assert words in engine.docker("run", "--rm", "--network", "none", IMAGE, *args)


class TestBadEnvironment:
    """One clear line, and an exit status that an engine does not take for success."""

    @pytest.mark.parametrize("env, words, status", [
        ({}, "no source: give", 2),
        ({"STORAGE_BACKEND": "s3"}, "STORAGE_BUCKET is not set", 2),
        ({"MASTFS_SOURCE": "s3://b", "MASTFS_UID": "nobody-here"}, "MASTFS_UID", 2),
        ({"MASTFS_SOURCE": "s3://b", "AWS_SECRET_ACCESS_KEY_FILE": "/run/secrets/none"},
         "AWS_SECRET_ACCESS_KEY_FILE=/run/secrets/none: No such file", 1),
        ({"MASTFS_SOURCE": "file:///tmp"}, "no /dev/fuse", 1),
    ])
    def test_one_line(self, engine, env, words, status):
        done = engine.run("docker", "run", "--rm", "--network", "none",
                          *(w for k, v in env.items() for w in ("-e", k + "=" + v)), IMAGE)
        assert done.returncode == status, done.stderr
        assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr

    def test_no_capability(self, engine):
        """/dev/fuse without SYS_ADMIN: the remedy is in the line."""
        done = engine.run("docker", "run", "--rm", "--network", "none", "--device", "/dev/fuse",
                          "-e", "MASTFS_SOURCE=file:///srv", IMAGE)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "--cap-add SYS_ADMIN" in done.stderr, done.stderr


class TestCacheWithoutVolume:
    @pytest.mark.parametrize("env, warned", [
        ({"MASTFS_CACHE_DIR": "/var/tmp/cache"}, True),
        ({"MASTFS_CACHE_DIR": "/var/tmp/cache", "MASTFS_RO": "yes"}, False), ({}, False)])
    def test_is_warned_of(self, minio, share, daemon, env, warned):
        """In the container's own layer the journal ends with the container (P3)."""
        m = daemon(minio, share(), env=env)
        wait("it says so", lambda: (
            "on overlayfs" if warned else "is mounted on") in m.logs())
        assert ("gone with the container: give it a volume" in m.logs()) == warned


class TestSecretsAsFiles:
    @pytest.fixture
    def secrets(self, tmp_path):
        folder = tmp_path / "secrets"
        folder.mkdir(mode=0o700)
        return folder

    def start(self, engine, containers, share, store, secrets, **env):
        files = {k + "_FILE": "/run/secrets/" + k.lower() for k in store.env if "KEY" in k}
        env = {**{k: None for k in store.env if "KEY" in k}, **files, **env}
        containers.append(Daemon(engine, store, share(), env=env,
                                 more=("-v", "%s:/run/secrets:ro" % secrets)))
        return containers[-1].run()

    def test_keys_by_file(self, engine, containers, share, minio, secrets):
        """What the engine shows of the container has no key, nor has what it logs."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            write(secrets / name.lower(), (minio.env[name] + "\n").encode())
        m = self.start(engine, containers, share, minio, secrets, MASTFS_LOG_LEVEL="debug").ready()
        minio.put("a", b"by file")
        with open(m.share.point + "/a", "rb") as f:
            assert f.read() == b"by file"
        # "minioadmin" is both.
        assert minio.env["AWS_SECRET_ACCESS_KEY"] not in json.dumps(engine.inspect(m.name))
        assert minio.env["AWS_SECRET_ACCESS_KEY"] not in m.logs()

    @pytest.mark.parametrize("content, words", [
        (None, "No such file"), (b"", "is empty"), (b"\n", "is empty"),
        (SECRET.encode() + b"\nand more\n", "one line without blanks")])
    def test_bad_files(self, engine, containers, share, minio, secrets, content, words):
        write(secrets / "aws_access_key_id", b"minioadmin")
        if content is not None:
            write(secrets / "aws_secret_access_key", content)
        m = self.start(engine, containers, share, minio, secrets)
        assert m.ended() in (1, 2)
        said = m.logs()
        assert "AWS_SECRET_ACCESS_KEY_FILE" in said and words in said, said
        assert said.count("\n") == 1 and SECRET not in said, said

    def test_both(self, engine):
        done = engine.run("docker", "run", "--rm", *NETWORK, "-e", "MASTFS_SOURCE=s3://b",
                          "-e", "AWS_SECRET_ACCESS_KEY=" + SECRET,
                          "-e", "AWS_SECRET_ACCESS_KEY_FILE=/etc/hostname", IMAGE)
        assert done.returncode == 2 and "are both given" in done.stderr, done.stderr
        assert SECRET not in done.stderr
