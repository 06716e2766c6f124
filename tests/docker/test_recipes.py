"""What compose.yaml, README and dist/ tell people to do, done."""
import os
import pty
import re
import shutil
import uuid

import pytest
import yaml

from engine import ALONE, APP, DATA, IMAGE, NETWORK, POINT, ROOT, USER, Container
from lib import same, wait, write

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICES = ["backend", "mastfs", "processing-engine"]
# Commands as people type them, in an engine that has no network for containers.
SHIM = """#!/bin/sh
set -eu
verb=$1
shift
case $verb in
compose) exec %(compose)s -f %(root)s/compose.yaml -f %(here)s/compose.test.yaml "$@" ;;
build | run) exec %(docker)s "$verb" --network host "$@" ;;
*) exec %(docker)s "$verb" "$@" ;;
esac
"""


@pytest.fixture
def typed(engine, tmp_path, share, containers):
    """typed(line, ...): run in a shell, at the root of the project, as README shows it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    compose = shutil.which("docker-compose")
    if not compose:
        pytest.skip("no docker-compose")
    write(tools / "docker", (SHIM % {"compose": compose, "root": ROOT, "here": HERE,
                                     "docker": shutil.which("docker")}).encode())
    (tools / "docker").chmod(0o755)
    where = share()
    env = {"PATH": "%s:%s" % (tools, os.environ["PATH"]), "DATA_DIR": where.path,
           "SECRETS_DIR": str(tmp_path / "secrets"), "MASTFS_ROOT": ROOT,
           "PROCESSING_ENGINE_IMAGE": APP, "BACKEND_IMAGE": APP}
    (tmp_path / "secrets").mkdir(mode=0o700)

    def run(line, status=0, **more):
        done = engine.run("sh", "-euc", line, cwd=ROOT, env={**env, **more})
        assert done.returncode == status, "%s: %d\n%s%s" % (line, done.returncode, done.stdout,
                                                           done.stderr)
        return done.stdout
    run.share, run.secrets = where, tmp_path / "secrets"
    yield run
    run("docker compose down -v -t 1")


def of_compose(engine, service):
    return Container(engine, engine.docker(
        "ps", "-aqf", "label=com.docker.compose.service=" + service).split()[0])


class TestCompose:
    def test_up_kill_up_down(self, engine, typed, minio):
        """The whole recipe: ready in order, seen by both, survives, drains, leaves nothing."""
        minio.put("a", b"from the bucket")
        env = {"STORAGE_BACKEND": "minio", "STORAGE_BUCKET": minio.bucket,
               "STORAGE_PREFIX": "some/prefix", "S3_ENDPOINT_URL": minio.url,
               "AWS_REGION": "us-east-1", "MASTFS_UPLOAD": "background",
               "AWS_ACCESS_KEY_ID_FILE": "/run/secrets/id",
               "AWS_SECRET_ACCESS_KEY_FILE": "/run/secrets/key"}
        write(typed.secrets / "id", minio.env["AWS_ACCESS_KEY_ID"].encode())
        write(typed.secrets / "key", minio.env["AWS_SECRET_ACCESS_KEY"].encode() + b"\n")
        typed("docker compose up -d", **env)
        m, a, b = (of_compose(engine, name) for name in
                   ("mastfs", "processing-engine", "backend"))
        assert m.state()["Health"]["Status"] == "healthy"
        assert a.exec("cat", POINT + "/a") == "from the bucket"
        a.exec("sh", "-c", "echo one > %s/one" % POINT)
        assert b.exec("cat", POINT + "/one") == "one\n"
        m.kill()
        typed("docker compose up -d", **env)
        wait("healthy again", lambda: m.state()["Running"] and
             m.state()["Health"]["Status"] == "healthy")
        assert b.exec("cat", POINT + "/one") == "one\n"
        b.exec("sh", "-c", "echo two > %s/two" % POINT)
        typed("docker compose down", **env)
        assert minio.get("one") == b"one\n" and minio.get("two") == b"two\n"
        assert typed.share.mounts() == []

    def test_what_reaches_it(self, engine, typed):
        """Every option, what README names of stores and keys, and each key as a file; what is
        not set does not, and the image's own settings hold."""
        table = engine.docker("run", "--rm", "--network", "none", IMAGE, "help", "mount")
        options = re.findall(r"^  ([a-z_]+)(?:=| {2,})", table.split("\nOptions, ")[1], re.M)
        assert len(options) > 40
        with open(os.path.join(ROOT, "README.md")) as f:
            text = re.search(r"\n### Which store\n(.*?)\n### Options\n", f.read(), re.S).group(1)
        named = set(re.findall(r"\b[A-Z0-9]+(?:_[A-Z0-9]+)+\b", text)) | {"MASTFS_SOURCE"}
        keys = {n for n in named if re.search("_(KEY|KEY_ID|TOKEN|CONNECTION_STRING)$", n)}
        assert len(keys) > 5
        want = {n: "given" for n in named | {k + "_FILE" for k in keys} |
                {"MASTFS_" + o.upper() for o in options}}
        command = "docker compose run --rm -T --no-deps --entrypoint env mastfs"
        got = dict(line.split("=", 1) for line in typed(command, **want).splitlines())
        want["MASTFS_CACHE_DIR"] = "/var/cache/mastfs"  # the volume's place
        assert {n: got.get(n) for n in want} == want
        got = dict(line.split("=", 1) for line in typed(command).splitlines())
        image = dict(e.split("=", 1) for e in engine.inspect(IMAGE, "{{json .Config.Env}}"))
        assert {n: got[n] for n in got if n in image or n in want} == image

    def test_what_it_says(self, engine):
        """What the recipe needs of an engine stands there, and nothing that is more than that."""
        with open(os.path.join(ROOT, "compose.yaml")) as f:
            services = yaml.safe_load(f)["services"]
        m = services["mastfs"]
        assert sorted(services) == SERVICES
        assert m["pid"] == "host" and m["cap_add"] == ["SYS_ADMIN"] and "privileged" not in m
        assert m["stop_grace_period"] == "120s"
        for name in SERVICES:
            shared = [v for v in services[name]["volumes"] if v.split(":")[-2] == DATA]
            assert [v.rsplit(":", 1)[1] for v in shared] == [
                "rshared" if name == "mastfs" else "rslave"]
            if name != "mastfs":
                assert services[name]["user"] == USER
                assert services[name]["depends_on"] == {"mastfs": {"condition": "service_healthy"}}
        # The grace period outlasts the drain, else the end is a kill.
        env = dict(e.split("=", 1) for e in engine.inspect(IMAGE, "{{json .Config.Env}}"))
        assert int(env["MASTFS_DRAIN"].rstrip("s")) < int(m["stop_grace_period"].rstrip("s"))


class TestKubernetes:
    def test_says_what_compose_says(self):
        """No cluster is here: it parses, and has the parts that matter."""
        with open(os.path.join(ROOT, "dist", "kubernetes.yaml")) as f:
            text = f.read()
        pod = yaml.safe_load(text)
        spec = pod["spec"]
        sidecar, = spec["initContainers"]
        application, = spec["containers"]
        assert "Not run here" in text or "Not run by" in text
        assert sidecar["restartPolicy"] == "Always" and spec["shareProcessNamespace"] is True
        assert spec["terminationGracePeriodSeconds"] == 120
        names = {v["name"] for v in spec["volumes"]}
        for container, propagation in ((sidecar, "Bidirectional"),
                                       (application, "HostToContainer")):
            mounts = {v["mountPath"]: v for v in container["volumeMounts"]}
            assert mounts[DATA]["mountPropagation"] == propagation
            assert {v["name"] for v in mounts.values()} <= names
        assert sidecar["startupProbe"]["exec"]["command"] == ["mastfs", "status", "--quiet"]
        assert application["securityContext"] == {"runAsUser": 1001, "runAsGroup": 1001}


@pytest.fixture(scope="session")
def alone(engine):
    """The application's image with mastfs in it, as dist/one-container.Dockerfile has it."""
    engine.build(ALONE, "--build-arg", "APPLICATION=" + APP, "-f",
                 os.path.join(ROOT, "dist", "one-container.Dockerfile"), ROOT)
    return ALONE


class TestOneContainer:
    """mastfs inside the application's own container, by an entrypoint."""

    @pytest.fixture
    def run(self, engine, alone, containers):
        """run(store, how, command) -> the container and what docker run said."""
        def make(store, how, command, env, **kwargs):
            name = "one-" + uuid.uuid4().hex[:8]
            containers.append(Container(engine, name, "cache-" + name))
            return containers[-1], engine.docker(
                "run", *how, "--name", name, *NETWORK, "--device", "/dev/fuse", "--cap-add",
                "SYS_ADMIN", "--security-opt", "apparmor:unconfined",
                "-v", "cache-%s:/var/cache/mastfs" % name,
                *(w for k, v in {**store.env, "MASTFS_SOURCE": store.source, **env}.items()
                  for w in ("-e", "%s=%s" % (k, v))), alone, *command, **kwargs)
        return make

    @pytest.fixture
    def start(self, run, minio):
        return lambda *command, store=minio, **env: run(store, ["-d"], command, env)[0]

    def test_command_as_the_application(self, start, minio):
        """As 1001, without rights; what it wrote is in the bucket, and its status is ours."""
        minio.put("in", b"words")
        c = start("sh", "-c", "id -u; grep CapEff /proc/self/status; cat %s/in; "
                  "cp %s/in %s/out; exit 7" % (POINT, POINT, POINT), MASTFS_UPLOAD="background")
        assert c.ended() == 7
        said = c.logs()
        assert "1001\n" in said and "words" in said, said
        assert re.search(r"CapEff:\s+0+\n", said), said
        assert minio.get("out") == b"words"

    def test_stop_reaches_the_application_first(self, start, minio):
        """It may still write when it is told to end; that is uploaded, too."""
        c = start("python3", "-uc", """
import signal, sys, time
def end(*_):
    with open(sys.argv[1] + "/last", "wb") as f:
        f.write(b"x" * 100000)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready")
while True:
    time.sleep(60)
""", POINT, MASTFS_UPLOAD="background")
        wait("the application", lambda: "ready" in c.logs())
        assert c.stop() == 0
        same(minio.get("last"), b"x" * 100000)

    def test_its_input_is_ours(self, run, minio):
        _, said = run(minio, ["-i"], ["cat"], {}, input="words\n")
        assert "words\n" in said

    def test_it_has_the_terminal(self, run, minio):
        """As a shell that somebody works in."""
        ours, its = pty.openpty()
        os.write(ours, b"words\n")
        _, said = run(minio, ["-i", "-t"], ["sh", "-c", "read x; echo got $x"], {}, stdin=its)
        assert "got words" in said
        os.close(its)
        os.close(ours)

    @pytest.mark.parametrize("name, status", [("INT", 130), ("QUIT", 131)])
    def test_other_signals_reach_it_too(self, start, name, status):
        """As by STOPSIGNAL; it does with them what it would without us."""
        c = start("python3", "-uc", "import time; print('ready'); time.sleep(1000)")
        wait("the application", lambda: "ready" in c.logs())
        c.kill(name)
        assert c.ended() == status

    @pytest.mark.parametrize("how", ["", "trap '' TERM;"])
    def test_what_it_leaves_running(self, start, s3d, how):
        """Ended, as it keeps the mount busy, and the uploads are not ended with it (P3)."""
        s3d.server.rule("status", "PUT", key="out$", status=503, code="SlowDown")
        c = start("sh", "-c", "cd %s; echo words >out; %s sleep 1000 & sleep 1" % (POINT, how),
                  store=s3d, MASTFS_UPLOAD="background")
        wait("the upload", lambda: any(r["act"] for r in s3d.server.log()), 60)
        wait("the drain", lambda: c.holder() == "draining" or not c.state()["Running"], 60)
        s3d.server.clear()
        assert c.ended() == 0
        assert s3d.get("out") == b"words\n"

    def test_no_mount_no_application(self, start):
        c = start("echo", "started", AWS_SECRET_ACCESS_KEY="wrong")
        assert c.ended() == 1
        assert "started" not in c.logs() and c.logs().count("\n") == 1, c.logs()


class TestReadme:
    """Each command of the section is run as it stands there, with a bucket of ours."""

    def test_in_containers(self, engine, typed, minio):
        with open(os.path.join(ROOT, "README.md")) as f:
            section = re.search(r"\n## In containers\n(.*?)\n##+ ", f.read(), re.S).group(1)
        blocks = re.findall(r"\n```\n(.*?)```", section, re.S)
        assert len(blocks) >= 2
        minio.put("a", b"from the bucket")
        env = {k: v for k, v in minio.env.items()}
        env["S3_ENDPOINT_URL"] = minio.url
        for line in (line for block in blocks for line in block.replace("\\\n", " ").splitlines()):
            line = line.replace("s3://bucket/prefix", minio.source)
            line = line.replace("/srv/data", typed.share.path)
            typed(line, **env)
            if " up -d" in line or "docker run" in line:
                wait("the mount", lambda: os.path.exists(typed.share.point + "/a"))
                a = Container(engine, engine.docker("ps", "-q").split()[0])
                assert a.state()["Running"]
        assert typed.share.mounts() == []
