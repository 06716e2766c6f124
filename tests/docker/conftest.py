"""Fixtures: one engine and its images for the run; stores, shares and containers for a test."""
import os
import shutil
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import lib  # noqa: E402
import engine as eng  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)
bars = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("call", "setup"):
        for made in getattr(item, "containers", []):
            report.sections.append(("log of " + made.name, made.logs()[-6000:]))


def pytest_terminal_summary(terminalreporter):
    for line in bars:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def bar():
    """bar(text): a figure that is printed at the end, and kept by tests/run."""
    return lambda text, *args: bars.append("docker: " + text % args)


def missing(why):
    """Loud where it is missing, and in CI a failure."""
    bars.append("docker: **** SKIPPED, NO ENGINE: %s ****" % why)
    lib.missing(why)


@pytest.fixture(scope="session")
def engine():
    if eng.why_not():
        missing(eng.why_not())
    try:
        made = eng.Engine()
    except eng.NoEngine as err:
        missing(str(err))
    try:
        made.images()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory):
    if not lib.MINIO:
        pytest.skip("no MinIO")
    place = str(tmp_path_factory.mktemp("minio"))
    made = lib.MinioServer(place)
    yield made
    made.stop()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def minio(minio_server):
    return lib.MinioStore(minio_server)


@pytest.fixture
def s3d(tmp_path):
    store = lib.S3dStore(str(tmp_path))
    yield store
    store.stop()


@pytest.fixture
def share(engine, tmp_path):
    """share() -> a Share; they are the last to go."""
    made = []

    def make():
        made.append(eng.Share(str(tmp_path)))
        return made[-1]
    yield make
    for s in made:
        s.remove()


@pytest.fixture
def containers(request, engine, share):
    made = request.node.containers = []
    yield made
    for c in reversed(made):
        c.remove()
    volumes = engine.docker("volume", "ls", "-q").split()
    if volumes:
        engine.docker("volume", "rm", "-f", *volumes)


@pytest.fixture
def daemon(engine, containers):
    """daemon(store, share, ...) -> Daemon, mounted; start=False leaves that to the test."""
    def make(store, where, start=True, **kwargs):
        containers.append(eng.Daemon(engine, store, where, **kwargs))
        return containers[-1].up() if start else containers[-1]
    return make


@pytest.fixture
def app(engine, containers):
    def make(where, *more):
        containers.append(eng.App(engine, where, more))
        return containers[-1]
    return make
