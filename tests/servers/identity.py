#!/usr/bin/python3
"""identity.py - the services that give out credentials, for the tests, on one port.

  identity.py [--port N] [--issued FILE] [--secret TEXT]

Prints "identity: listening on 127.0.0.1:PORT" when it is ready.  Everything secret that it
gives out contains TEXT, so that a test can look for it.  Each credential is written to FILE,
one JSON object a line (access, secret, token, kind, expires), for a store to check.

  IMDSv2       /latest/api/token, /latest/meta-data/iam/security-credentials/
  container    /ecs/keys; with {"ecs_token": T} it wants "Authorization: T"
  STS          POST /: AssumeRole, its signature checked; AssumeRoleWithWebIdentity
  Azure        /metadata/identity/oauth2/token, /appservice/token, /TENANT/oauth2/v2.0/token
  GCE          /computeMetadata/v1/instance/service-accounts/default/token
  Google       POST /google/token: refresh_token, jwt-bearer (signature checked with
               {"public_key": PEM}); POST /google/sts; GET /google/subject;
               POST /google/v1/projects/-/serviceAccounts/NAME:generateAccessToken
  PUT, GET ... /_control/config  sets what is given; /_control/log  what was asked

Config: lifetime (seconds, as told), valid (seconds, what a store is told; 0 = lifetime),
fail ({path: [status, body]}; path "*" = all; ECHO in the
body is everything secret that was sent), delay (seconds before each answer), keys
({access: secret} that may assume a role), clock_off (seconds: the Date that is told, and what
signatures are judged by), web_token, client_secret, assertion, refresh_token, ecs_token,
app_header, subject, public_key (what is expected; None = anything), no_flavor.
"""
import argparse
import base64
import calendar
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sigv4  # noqa: E402

ROLE = "test-role"
XML = ("<{0}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{0}Result>"
       "<Credentials><AccessKeyId>{1}</AccessKeyId><SecretAccessKey>{2}</SecretAccessKey>"
       "<SessionToken>{3}</SessionToken><Expiration>{4}</Expiration></Credentials>"
       "</{0}Result></{0}Response>")
XML_ERROR = ("<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message>"
             "</Error></ErrorResponse>")
SECRET_HEADERS = ("authorization", "x-amz-security-token", "x-identity-header")


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or code


def iso(when):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Identity:
    def __init__(self, opts):
        self.opts, self.lock, self.log, self.count = opts, threading.Lock(), [], 0
        self.conf = {"lifetime": 3600, "valid": 0, "fail": {}, "delay": 0, "clock_off": 0,
                     "keys": {"testkey": "testsecret"}}

    def issue(self, kind):
        """A new credential, and when it expires as told."""
        with self.lock:
            self.count += 1
            n = self.count
            told = time.time() + self.conf["lifetime"]
            entry = {"kind": kind, "access": "ASIA%06d" % n,
                     "secret": "%s-secret-%d" % (self.opts.secret, n),
                     "token": "%s-token-%d" % (self.opts.secret, n),
                     "expires": time.time() + (self.conf["valid"] or self.conf["lifetime"])}
            self.conf["keys"][entry["access"]] = entry["secret"]
            if self.opts.issued:
                with open(self.opts.issued, "a") as f:
                    f.write(json.dumps(entry) + "\n")
        return entry, told

    def expect(self, what, got, status=401, code="invalid_grant"):
        want = self.conf.get(what)
        if want is not None and got != want:
            raise Refusal(status, code, "not the %s that was expected" % what)

    def keys_json(self, kind):
        entry, told = self.issue(kind)
        return {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": entry["access"],
                "SecretAccessKey": entry["secret"], "Token": entry["token"],
                "Expiration": iso(told)}

    def bearer(self, kind, form="expires_in"):
        entry, told = self.issue(kind)
        text = {"access_token": entry["token"], "token_type": "Bearer"}
        if form == "expires_on":
            text["expires_on"] = str(int(told))
        text["expires_in"] = self.conf["lifetime"]
        return text


# What each service answers: (identity, request) -> dict, str or bytes.

def imds_token(me, rq):
    if rq.command != "PUT" or not rq.headers.get("x-aws-ec2-metadata-token-ttl-seconds"):
        raise Refusal(400, "BadRequest")
    return me.opts.secret + "-imds"


def imds_keys(me, rq):
    if rq.headers.get("x-aws-ec2-metadata-token") != me.opts.secret + "-imds":
        raise Refusal(401, "Unauthorized")
    return me.keys_json("imds") if rq.where.endswith(ROLE) else ROLE + "\n"


def ecs(me, rq):
    me.expect("ecs_token", rq.headers.get("authorization"), 403, "AccessDenied")
    return me.keys_json("ecs")


def check_sts_signature(me, rq):
    auth = rq.headers.get("authorization", "")
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8}/[^/]+/sts/"
                         r"aws4_request), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         auth)
    if not found or found.group(1) not in me.conf["keys"]:
        raise Refusal(403, "InvalidClientTokenId", "the token in the request is invalid")
    access, scope, signed, given = found.groups()
    stamp = rq.headers.get("x-amz-date", "")
    then = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    if abs(then - time.time() - me.conf["clock_off"]) > 300:
        raise Refusal(403, "SignatureDoesNotMatch", "Signature expired: " + stamp)
    headers = {k.lower(): v for k, v in rq.headers.items()}
    want, _ = sigv4.signature(me.conf["keys"][access], scope, stamp, "POST", "/", "", headers,
                              signed.split(";"), hashlib.sha256(rq.body).hexdigest())
    if want != given:
        raise Refusal(403, "SignatureDoesNotMatch", "the signature does not match")


def sts(me, rq):
    action = rq.form.get("Action", "")
    if action == "AssumeRole":
        check_sts_signature(me, rq)
    elif action == "AssumeRoleWithWebIdentity":
        me.expect("web_token", rq.form.get("WebIdentityToken"), 400, "InvalidIdentityToken")
    else:
        raise Refusal(400, "InvalidAction")
    entry, told = me.issue("sts")
    return XML.format(action, entry["access"], entry["secret"], entry["token"], iso(told))


def azure_imds(me, rq):
    if rq.headers.get("metadata") != "true":
        raise Refusal(400, "invalid_request", "Metadata: true is missing")
    return me.bearer("azure", "expires_on")


def azure_app(me, rq):
    me.expect("app_header", rq.headers.get("x-identity-header"), 401, "unauthorized")
    return me.bearer("azure", "expires_on")


def azure_entra(me, rq):
    if rq.form.get("scope") != "https://storage.azure.com/.default":
        raise Refusal(400, "invalid_scope")
    if "client_assertion" in rq.form:
        me.expect("assertion", rq.form["client_assertion"], 401, "invalid_client")
    else:
        me.expect("client_secret", rq.form.get("client_secret"), 401, "invalid_client")
    return me.bearer("azure")


def gce(me, rq):
    if rq.headers.get("metadata-flavor") != "Google":
        raise Refusal(403, "Forbidden")
    return me.bearer("google")


def check_assertion(me, assertion):
    head, claims, signature = assertion.split(".")
    told = json.loads(unpadded(claims))
    if json.loads(unpadded(head))["alg"] != "RS256" or told["exp"] - told["iat"] > 3600:
        raise Refusal(400, "invalid_grant", "not such an assertion")
    if abs(told["iat"] - time.time() - me.conf["clock_off"]) > 300:
        raise Refusal(400, "invalid_grant", "Invalid JWT: check your iat and exp")
    if not me.conf.get("public_key"):
        return
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, n) for n in ("key", "signature", "text")]
        for name, data in zip(names, (me.conf["public_key"].encode(), unpadded(signature),
                                      (head + "." + claims).encode())):
            with open(name, "wb") as f:
                f.write(data)
        if subprocess.run(["openssl", "dgst", "-sha256", "-verify", names[0], "-signature",
                           names[1], names[2]], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode:
            raise Refusal(400, "invalid_grant", "Invalid JWT Signature.")


def google_token(me, rq):
    if rq.form.get("grant_type") == "refresh_token":
        me.expect("refresh_token", rq.form.get("refresh_token"), 400)
    elif rq.form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
        check_assertion(me, rq.form["assertion"])
    else:
        raise Refusal(400, "unsupported_grant_type")
    return me.bearer("google")


def google_sts(me, rq):
    if rq.form.get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
        raise Refusal(400, "unsupported_grant_type")
    me.expect("subject", rq.form.get("subject_token"), 400)
    return me.bearer("google-sts")


def google_subject(me, rq):
    return {"value": me.conf.get("subject") or me.opts.secret + "-subject"}


def google_impersonate(me, rq):
    if not rq.headers.get("authorization", "").startswith("Bearer " + me.opts.secret):
        raise Refusal(401, "UNAUTHENTICATED")
    entry, told = me.issue("google")
    return {"accessToken": entry["token"], "expireTime": iso(told)}


SERVICES = [
    (r"/latest/api/token", imds_token),
    (r"/latest/meta-data/iam/security-credentials/.*", imds_keys),
    (r"/ecs/keys", ecs),
    (r"/", sts),
    (r"/metadata/identity/oauth2/token", azure_imds),
    (r"/appservice/token", azure_app),
    (r"/[^/]+/oauth2/v2.0/token", azure_entra),
    (r"/computeMetadata/v1/instance/service-accounts/default/token", gce),
    (r"/google/token", google_token),
    (r"/google/sts", google_sts),
    (r"/google/subject", google_subject),
    (r"/google/v1/projects/-/serviceAccounts/[^/]+:generateAccessToken", google_impersonate),
]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return formatdate((timestamp or time.time()) + self.server.me.conf["clock_off"],
                          usegmt=True)

    def answer(self):
        me = self.server.me
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.where = urlsplit(self.path).path
        self.form = dict(parse_qsl(self.body.decode("latin-1"), keep_blank_values=True))
        if self.where.startswith("/_control/"):
            return self.control(me)
        with me.lock:
            me.log.append({"method": self.command, "path": self.path, "t": time.time(),
                           "form": {k: v for k, v in self.form.items() if len(v) < 80},
                           "headers": {k.lower(): v for k, v in self.headers.items()
                                       if k.lower() not in SECRET_HEADERS}})
        time.sleep(me.conf["delay"])
        fail = me.conf["fail"].get(self.where) or me.conf["fail"].get("*")
        if fail:
            sent = [self.headers[n] for n in SECRET_HEADERS if n in self.headers]
            return fail[0], fail[1].replace("ECHO", " ".join([*sent, *self.form.values()]))
        for pattern, service in SERVICES:
            if re.fullmatch(pattern, self.where):
                try:
                    return 200, service(me, self)
                except Refusal as err:
                    return err.status, self.refusal(err)
        return 404, {"error": "not_found"}

    def refusal(self, err):
        if self.where == "/":
            return XML_ERROR.format(err.code, err.message)
        return {"error": err.code, "error_description": err.message}

    def control(self, me):
        with me.lock:
            if self.where.endswith("config"):
                me.conf.update(json.loads(self.body))
            return 200, list(me.log)

    def do_any(self):
        status, reply = self.answer()
        if not isinstance(reply, str):
            reply = json.dumps(reply)
        data = reply.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if "computeMetadata" in self.where and not self.server.me.conf.get("no_flavor"):
            self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--issued")
    parser.add_argument("--secret", default="issued")
    opts = parser.parse_args()
    server = Server(("127.0.0.1", opts.port), Handler)
    server.me = Identity(opts)
    print("identity: listening on 127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
