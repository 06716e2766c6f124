"""No secret is found where it does not belong; and credentials from services, end to end.

Secrets are planted in every place that credentials come from.  The daemon runs at debug level
and works, in part in vain; then nothing that was planted, or given out by a service, is in
its log, its command line or any file of its cache directory.  A core would hold them: so there
is none (RLIMIT_CORE is 0 and the process cannot be dumped).
"""
import base64
import errno
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

import azurectl
import lib
from lib import SANITIZER, body, read, same, wait, write

SECRET = "cAnArY-9f31"
TEXTS = {name: "%s-%s" % (SECRET, name) for name in (
    "aws-secret", "session-token", "client-secret", "refresh-token", "oauth-secret", "subject",
    "web-identity", "ecs-authorization", "app-header", "assertion")}
AZURE_KEY = base64.b64encode((SECRET + "-azure-key-of-64-bytes-").ljust(64, "x").encode()).decode()
SAS = "sv=2022-11-02&sr=c&sp=rl&se=2099-01-01T00:00:00Z&sig=" + SECRET + "sAs%3D"
CLEAN = {name: "" for name in (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
SLOW_PART = 1.0
ECHO_XML = "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>ECHO</Message>" \
    "</Error></ErrorResponse>"  # the service repeats what it was sent


class Identity:
    """An identity.py of one's own; see there."""

    def __init__(self, folder):
        self.issued = os.path.join(folder, "issued")
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(lib.TESTS, "servers", "identity.py"),
             "--issued", self.issued, "--secret", SECRET],
            stdout=subprocess.PIPE, text=True)
        self.host = self.process.stdout.readline().split()[-1]
        self.url = "http://" + self.host

    def control(self, what, **conf):
        conn = http.client.HTTPConnection(self.host, timeout=30)
        conn.request("PUT", "/_control/" + what, json.dumps(conf))
        answer = json.loads(conn.getresponse().read())
        conn.close()
        return answer

    def config(self, **conf):
        self.control("config", **conf)

    def asked(self, path):
        return [r for r in self.control("log") if r["path"].startswith(path)]

    def entries(self):
        if not os.path.exists(self.issued):
            return []
        with open(self.issued) as f:
            return [json.loads(line) for line in f]

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def identity(folder):
    service = Identity(folder)
    yield service
    service.stop()


@pytest.fixture
def s3d(folder, identity):
    """Takes the keys that the identity service gives out."""
    store = lib.S3dStore(folder, "--issued", identity.issued)
    store.env.update(CLEAN)
    yield store
    store.stop()


@pytest.fixture(scope="session")
def rsa_key(tmp_path_factory):
    """(private PEM, public PEM)"""
    path = str(tmp_path_factory.mktemp("rsa") / "key.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", path], check=True,
                   stderr=subprocess.DEVNULL)
    public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    return read(path).decode(), public


def path_in(folder, name, text):
    path = os.path.join(folder, name)
    write(path, text.encode())
    return path


def planted(extra=()):
    """What must not be found, in each form that it could be written in."""
    for text in (SECRET, AZURE_KEY, *extra):
        data = text.encode()
        yield data
        yield base64.b64encode(data)[:-4]
        yield base64.b64decode(text)[:32] if text == AZURE_KEY else data


def check_clean(mount, extra=(), output=""):
    places = {"log": mount.log().encode(), "output": output.encode()}
    for folder, _, files in os.walk(mount.cache):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                places[path] = read(path)
    if mount.process:
        places["command line"] = read("/proc/%d/cmdline" % mount.process.pid)
    for secret in planted(extra):
        for place, data in places.items():
            assert secret not in data, "%r is in the %s: %r" % (
                secret, place, data[max(0, data.find(secret) - 200):][:500])


def work(mount, store=None):
    """Writes, reads, fails."""
    data = body(3 << 20)
    write(mount.path("f.fits"), data)
    same(read(mount.path("f.fits")), data)
    os.listdir(mount.point)
    lib.fails(2, os.stat, mount.path("missing"))
    if store:
        same(store.get("f.fits"), data)


# Where keys come from, for S3: (folder, identity) -> environment.

def from_environment(_folder, identity):
    identity.config(keys={"AKIA": TEXTS["aws-secret"]})
    with open(identity.issued, "a") as f:
        f.write(json.dumps({"access": "AKIA", "secret": TEXTS["aws-secret"],
                            "token": TEXTS["session-token"],
                            "expires": time.time() + 3600}) + "\n")
    return {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": TEXTS["aws-secret"],
            "AWS_SESSION_TOKEN": TEXTS["session-token"]}


def from_container(folder, identity):
    identity.config(ecs_token=TEXTS["ecs-authorization"])
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": identity.url + "/ecs/keys",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE":
                path_in(folder, "ecs", TEXTS["ecs-authorization"])}


def from_web_identity(folder, identity):
    identity.config(web_token=TEXTS["web-identity"])
    return {"AWS_ENDPOINT_URL_STS": identity.url, "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
            "AWS_WEB_IDENTITY_TOKEN_FILE": path_in(folder, "web", TEXTS["web-identity"])}


def from_role(folder, identity):
    identity.config(keys={"BASE": TEXTS["aws-secret"]})
    return {"AWS_ENDPOINT_URL_STS": identity.url, "AWS_CONFIG_FILE": path_in(
        folder, "config", "[default]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=base\n"
        "[profile base]\naws_access_key_id=BASE\naws_secret_access_key=%s\n"
        % TEXTS["aws-secret"])}


def from_instance(folder, identity):
    """The instance's keys assume a role: a store that is not Amazon's gets no other."""
    return {"AWS_ENDPOINT_URL_STS": identity.url, "AWS_EC2_METADATA_DISABLED": "",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url, "AWS_CONFIG_FILE": path_in(
                folder, "config", "[default]\nrole_arn=arn:aws:iam::1:role/x\n"
                "credential_source=Ec2InstanceMetadata\n")}


SOURCES = [from_environment, from_container, from_web_identity, from_role, from_instance]


@pytest.mark.parametrize("source", SOURCES)
def test_keys_from_a_service_work_and_are_not_seen(source, folder, s3d, identity, mount):
    m = mount(s3d, env=source(folder, identity))
    work(m, s3d)
    s3d.server.rule("status", method="GET", status=403, code="AccessDenied", key="denied",
                    nth=1)
    s3d.put("denied", b"x")
    time.sleep(0.1)
    with pytest.raises(OSError):
        read(m.path("denied"))
    check_clean(m)
    m.umount()
    check_clean(m)


@pytest.mark.parametrize("source", SOURCES[1:])
def test_services_that_fail_are_named_and_nothing_is_seen(source, folder, s3d, identity, mount):
    env = source(folder, identity)
    identity.config(fail={"/": [400, ECHO_XML], "/ecs/keys": [403, ECHO_XML]})
    m = mount(s3d, start=False, env=env)
    done = m.run(*m.command("-f", "-o", "log_level=debug")[1:])
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "error: s3:" in line]
    assert len(errors) == 1 and identity.host in errors[0] and "status 40" in errors[0], \
        done.stderr
    check_clean(m, output=done.stdout + done.stderr)


def test_keys_are_renewed_before_they_expire(folder, s3d, identity, mount):
    identity.config(lifetime=8)
    m = mount(s3d, env=from_container(folder, identity))
    for i in range(12):
        write(m.path("f%d" % i), body(1000, i))
        time.sleep(1)
    asked = len(identity.asked("/ecs/keys"))
    assert 2 <= asked <= 5, asked
    refused = [r for r in s3d.server.log() if r["status"] == 400]
    assert not refused, refused
    check_clean(m)


def test_keys_that_expire_in_the_middle_of_an_upload(folder, s3d, identity, mount):
    """They are good for less long than was told: only the store says so, half way through."""
    identity.config(lifetime=3600, valid=3)
    s3d.server.rule("delay", method="PUT", query="partNumber", secs=SLOW_PART)
    m = mount(s3d, env=from_role(folder, identity), uploaders=1)
    data = body(48 << 20)
    write(m.path("big"), data)
    same(s3d.get("big"), data)
    refused = [r for r in s3d.server.log() if r["status"] == 400]
    assert refused, "nothing expired: the test tests nothing"
    assert len(identity.asked("/")) >= 2
    check_clean(m)


def test_a_service_that_is_down_for_a_while_is_no_harm(folder, s3d, identity, mount):
    identity.config(lifetime=8)
    m = mount(s3d, env=from_container(folder, identity))
    work(m, s3d)
    identity.config(fail={"/ecs/keys": [500, "down"]})
    wait("a renewal fails", lambda: "ecs/keys: status 500" in m.log())
    write(m.path("meanwhile"), b"with the old ones")
    end = threading.Timer(4, lambda: identity.config(fail={}))
    end.start()
    time.sleep(5)  # the old ones have expired meanwhile
    write(m.path("after"), b"with new ones")
    same(s3d.get("after"), b"with new ones")
    end.join()
    check_clean(m)


def test_removal_outlives_a_service_that_refuses(folder, s3d, identity, mount):
    """P3: rm was acknowledged; nobody gave us keys, and the store refused nothing."""
    identity.config(lifetime=4)
    m = mount(s3d, env=from_container(folder, identity))
    write(m.path("f"), b"x")
    identity.config(fail={"/ecs/keys": [403, "no"]})
    wait("the keys are spent", lambda: error_of(m.path("unknown"), m) == errno.EACCES)
    os.unlink(m.path("f"))
    refused = len(identity.asked("/ecs/keys"))
    wait("the removal asks for keys", lambda: len(identity.asked("/ecs/keys")) > refused + 1)
    identity.config(fail={})
    m.remount()
    assert not os.path.exists(m.path("f")) and s3d.files() == []


def error_of(path, m):
    """Of a new name each time: none is known.  Not so often that the directory is listed."""
    time.sleep(.5)
    try:
        os.stat(path + str(len(m.log())))
    except OSError as err:
        return err.errno
    return 0


def test_a_store_that_repeats_the_token(folder, s3d, identity, mount):
    """The signature is wrong, and the server says at length what it made of the request."""
    env = {**from_environment(folder, identity), "AWS_SECRET_ACCESS_KEY": SECRET + "-wrong"}
    m = mount(s3d, start=False, env=env)
    done = m.run(*m.command("-f", "-o", "log_level=debug")[1:])
    assert done.returncode != 0 and "SignatureDoesNotMatch" in done.stderr, done.stderr
    check_clean(m, output=done.stdout + done.stderr)


def test_there_is_no_core(folder, s3d, identity, mount):
    """Checked: the limit; and that what is in /proc/PID belongs to root, not to the user whose
    process it is, which is how one that cannot be dumped differs from another."""
    if SANITIZER:
        pytest.skip("a sanitizer traces its process")
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    caps = "+sys_admin,+dac_override"  # as much of root as a mount needs
    user = ["setpriv", "--reuid=65534", "--inh-caps=" + caps, "--ambient-caps=" + caps]

    def owner(pid):
        with open("/proc/%d/status" % pid) as f:
            assert "Uid:\t65534\t65534" in f.read()
        return os.stat("/proc/%d/environ" % pid).st_uid

    other = subprocess.Popen([*user, "sleep", "60"])
    m = mount(s3d, start=False, user=user, env=from_environment(folder, identity))
    for place in (m.folder, m.point):
        os.chown(place, 65534, -1)
    try:
        m.mount()
        assert owner(other.pid) == 65534
        assert owner(m.process.pid) == 0
    finally:
        other.kill()
        other.wait()
    with open("/proc/%d/limits" % m.process.pid) as f:
        line = next(line for line in f if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"], line


# Azure and Google: against services that answer, and against those that do not know us.

class Elsewhere:
    """A store that is only a URL and an environment."""

    def __init__(self, source, env):
        self.source, self.env = source, env

    def stop(self):
        pass


def refused_cleanly(mount, store, named, extra=(), **opts):
    """The mount is refused, with a line that names the source, and no secret is told."""
    m = mount(store, start=False, **opts)
    done = m.run(*m.command("-f", "-o", "log_level=debug")[1:])
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert errors and any(named in line for line in errors), done.stderr
    check_clean(m, extra, done.stdout + done.stderr)


AZURE_ENV = [
    {"AZURE_STORAGE_KEY": AZURE_KEY},
    {"AZURE_STORAGE_SAS_TOKEN": SAS},
    {"AZURE_STORAGE_CONNECTION_STRING":
        "AccountName=acct;AccountKey=%s;BlobEndpoint=URL/acct" % AZURE_KEY},
    {"AZURE_STORAGE_CONNECTION_STRING":
        "SharedAccessSignature=%s;BlobEndpoint=URL/acct" % SAS},
    # malformed
    {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acct;AccountKey=%s=;x" % AZURE_KEY},
    {"AZURE_STORAGE_KEY": "not base64 " + SECRET},
]


@pytest.mark.parametrize("env", AZURE_ENV, ids=range(len(AZURE_ENV)))
def test_azures_keys_are_not_seen(env, identity, mount):
    env = {k: v.replace("URL", identity.url) for k, v in env.items()}
    store = Elsewhere("az://acct/container", env)
    refused_cleanly(mount, store, "", [SAS, SAS.split("sig=")[1]],
                    endpoint=identity.url + "/acct" if "URL" not in str(env) else None)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("way", ["secret", "workload", "app service", "instance"])
def test_azures_tokens_are_not_seen(way, fails, folder, identity, mount):
    env = {"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_AUTHORITY_HOST": identity.url,
           "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"}
    if way == "secret":
        env["AZURE_CLIENT_SECRET"] = TEXTS["client-secret"]
        identity.config(client_secret=TEXTS["client-secret"])
    elif way == "workload":
        env["AZURE_FEDERATED_TOKEN_FILE"] = path_in(folder, "federated", TEXTS["assertion"])
        identity.config(assertion=TEXTS["assertion"])
    elif way == "app service":
        env.update(IDENTITY_ENDPOINT=identity.url + "/appservice/token",
                   IDENTITY_HEADER=TEXTS["app-header"])
        identity.config(app_header=TEXTS["app-header"])
    else:
        env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = identity.url
    if fails:
        identity.config(fail={"*": [401, json.dumps(
            {"error": "invalid_client", "error_description": "ECHO"})]})
    refused_cleanly(mount, Elsewhere("az://acct/container", env), identity.host if fails else "",
                    endpoint=identity.url + "/acct")
    assert bool(identity.entries()) != fails, "the flow was not taken"


def google_files(identity, rsa_key, folder):
    private, _ = rsa_key
    url = identity.url + "/google"
    account = {"type": "service_account", "client_email": "me@p.iam.gserviceaccount.com",
               "private_key_id": "k", "private_key": private, "token_uri": url + "/token"}
    user = {"type": "authorized_user", "client_id": "id", "token_uri": url + "/token",
            "client_secret": TEXTS["oauth-secret"], "refresh_token": TEXTS["refresh-token"]}
    external = {"type": "external_account", "audience": "//iam.googleapis.com/p",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": url + "/sts",
                "credential_source": {"file": path_in(folder, "subject", TEXTS["subject"])}}
    act = {"service_account_impersonation_url":
           url + "/v1/projects/-/serviceAccounts/sa@p:generateAccessToken"}
    from_url = {**external, **act, "credential_source": {
        "url": url + "/subject", "headers": {"Authorization": "bearer " + TEXTS["subject"]},
        "format": {"type": "json", "subject_token_field_name": "value"}}}
    return {"service_account": account, "authorized_user": user, "external_account": external,
            "external_url": from_url,
            "impersonated": {"type": "impersonated_service_account", **act,
                             "source_credentials": user}}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["service_account", "authorized_user", "external_account",
                                  "external_url", "impersonated", "metadata"])
def test_googles_secrets_are_not_seen(kind, fails, folder, identity, rsa_key, mount, gcsd):
    private, public = rsa_key
    identity.config(public_key=public, refresh_token=TEXTS["refresh-token"])
    env = {"STORAGE_EMULATOR_HOST": ""}
    if kind == "metadata":
        env.update(GCE_METADATA_HOST=identity.host, HOME=folder)
    else:
        files = google_files(identity, rsa_key, folder)
        env["GOOGLE_APPLICATION_CREDENTIALS"] = path_in(folder, "key.json",
                                                        json.dumps(files[kind]))
    extra = private.splitlines()[2:-2]
    if fails:
        identity.config(fail={"*": [400, json.dumps(
            {"error": "invalid_grant", "error_description": "ECHO"})]})
        gcsd.env.update(env)
        refused_cleanly(mount, gcsd, identity.host, extra, endpoint=gcsd.url)
        return
    m = mount(gcsd, env=env, endpoint=gcsd.url)
    work(m, gcsd)
    assert identity.entries(), "no token was asked for"
    check_clean(m, extra)
    m.umount()
    check_clean(m, extra)


def test_azurites_key_is_not_seen(azurite, mount):
    """Against a store that takes it."""
    m = mount(azurite)
    work(m, azurite)
    check_clean(m, [azurectl.KEY])
    m.umount()
    check_clean(m, [azurectl.KEY])
