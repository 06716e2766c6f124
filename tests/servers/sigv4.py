"""sigv4.py - checks a Signature Version 4 Authorization header, as S3 would.

verify() returns None if the request is signed as it was sent, else (status, code, message).
It trusts nothing that the client says: it builds the canonical request again from what
arrived, so a client that signs one thing and sends another is refused.  Clients ask the same
things over and over: what is derived from them is kept.
"""
import calendar
import hashlib
import hmac
import re
import time
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

SKEW = 15 * 60
KEPT = "-_.~"


def encode(data, safe=KEPT):
    return quote(data, safe=safe)


@lru_cache(4096)
def canonical_path(path):
    return encode(unquote_to_bytes(path), KEPT + "/")


@lru_cache(4096)
def canonical_query(query):
    pairs = []
    for item in query.split("&") if query else []:
        name, _, value = item.partition("=")
        pairs.append((encode(unquote_to_bytes(name)), encode(unquote_to_bytes(value))))
    return "&".join("%s=%s" % p for p in sorted(pairs))


@lru_cache(64)
def signing_key(secret, date, region, service):
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(64)
def seconds(stamp):
    return calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))


def signature(secret, scope, stamp, method, path, query, headers, signed, payload):
    """headers: name in lower case -> value.  Returns (signature, canonical request)."""
    lines = "".join("%s:%s\n" % (n, " ".join(headers.get(n, "").split())) for n in signed)
    canonical = "\n".join((method, canonical_path(path), canonical_query(query), lines,
                           ";".join(signed), payload))
    date, region, service, _ = scope.split("/")
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope,
                         hashlib.sha256(canonical.encode("utf-8", "surrogateescape"))
                         .hexdigest()))
    key = signing_key(secret, date, region, service)
    return hmac.digest(key, to_sign.encode(), "sha256").hex(), canonical


def verify(method, path, query, headers, keys, region, now=None):
    """keys: access key -> secret."""
    auth = headers.get("authorization", "")
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8}/[^/]+/s3/"
                         r"aws4_request), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         auth)
    if not found:
        return 403, "AccessDenied", "no valid Authorization header"
    access, scope, signed, given = found.groups()
    signed = signed.split(";")
    if access not in keys:
        return 403, "InvalidAccessKeyId", "no such key: " + access
    if scope.split("/")[1] != region:
        return 400, "AuthorizationHeaderMalformed", \
            "the region '%s' is wrong; expecting '%s'" % (scope.split("/")[1], region)
    stamp = headers.get("x-amz-date", "")
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", stamp) or stamp[:8] != scope[:8]:
        return 403, "AccessDenied", "x-amz-date is missing or is not the scope's"
    if abs(seconds(stamp) - (now or time.time())) > SKEW:
        return 403, "RequestTimeTooSkewed", "x-amz-date is too far from the server's clock"
    if signed != sorted(signed):
        return 403, "SignatureDoesNotMatch", "SignedHeaders is not sorted"
    for name in headers:
        if (name == "host" or name.startswith("x-amz-")) and name not in signed:
            return 403, "AccessDenied", "header is not signed: " + name
    payload = headers.get("x-amz-content-sha256")
    if not payload:
        return 400, "InvalidRequest", "x-amz-content-sha256 is missing"
    want, canonical = signature(keys[access], scope, stamp, method, path, query, headers,
                                signed, payload)
    if not hmac.compare_digest(want, given):
        return 403, "SignatureDoesNotMatch", "canonical request: " + canonical
    return None
