"""origins.py - the servers that objects come from, each behind any port of this host."""
import json
import os
import subprocess
from urllib.parse import urlsplit

import azurectl
import cloud
import lib
from manykeys import ManyKeysServer


class Origin:
    """name; port; store, as in tests/e2e/lib.py; put() a file, url() for a bare GET."""
    ca_file = None

    def __init__(self, folder):
        self.folder, self.there = folder, set()

    def put(self, name, path):
        if name not in self.there:
            self.store.put(name, path=path)
            self.there.add(name)

    def stop(self):
        self.server.stop()


class Minio(Origin):
    name = "minio"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = self.serve(folder)
        self.store = lib.MinioStore(self.server)
        self.port, self.bucket = self.server.port, self.store.bucket
        self.keys = (self.server.user, self.server.password)
        # For curl, which signs nothing here.
        self.store.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::%s/*" % self.bucket]}]}))

    def serve(self, folder):
        return lib.MinioServer(folder)

    def endpoint(self, port):
        return "http://127.0.0.1:%d" % port

    def behind(self, port):
        """The mount's environment, when the server is reached through that port."""
        return {"AWS_ENDPOINT_URL": self.endpoint(port)}

    def url(self, name, port):
        return "%s/%s/%s%s" % (self.endpoint(port), self.bucket, lib.PREFIX, name)

    def signer(self, name, port):
        """URLs that let a bare program do something with this object, by S3 operation."""
        s3 = lib.client(self.endpoint(port), *self.keys, signature_version="s3v4")

        def sign(operation, **params):
            return s3.generate_presigned_url(operation, Params={
                "Bucket": self.bucket, "Key": lib.PREFIX + name, **params})
        return sign


class TlsServer(lib.MinioServer):
    """MinIO with a certificate of its own making."""

    def __init__(self, folder):
        self.certs = os.path.join(folder, "certs")
        os.mkdir(self.certs)
        self.ca_file = os.path.join(self.certs, "public.crt")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=bench",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
             "-keyout", os.path.join(self.certs, "private.key"), "-out", self.ca_file],
            check=True, stderr=subprocess.DEVNULL)
        # For the boto3 clients that are made from here on; the others do not speak TLS.
        os.environ["AWS_CA_BUNDLE"] = self.ca_file
        super().__init__(folder, scheme="https", more=("--certs-dir", self.certs))


class MinioTls(Minio):
    name = "minio tls"

    def serve(self, folder):
        server = TlsServer(folder)
        self.ca_file = server.ca_file
        return server

    def endpoint(self, port):
        return "https://127.0.0.1:%d" % port


class Azurite(Origin):
    name = "azurite"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = cloud.AzuriteServer(folder)
        self.store = cloud.AzuriteStore(self.server)
        self.port, self.bucket = urlsplit(self.server.url).port, self.store.bucket

    def endpoint(self, port):
        return self.server.url.replace(":%d/" % self.port, ":%d/" % port)

    def behind(self, port):
        return {"AZURE_STORAGE_CONNECTION_STRING":
                azurectl.connection_string(self.endpoint(port))}

    def url(self, name, port):
        sas = self.store.client.sas("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "r")
        return "%s/%s/%s%s?%s" % (self.endpoint(port), self.bucket, lib.PREFIX, name, sas)


class FakeGcs(Origin):
    name = "fake_gcs"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = cloud.FakeGcsServer(folder)
        self.store = cloud.FakeGcsStore(self.server)
        self.port, self.bucket = urlsplit(self.server.url).port, self.store.bucket

    def endpoint(self, port):
        return "http://127.0.0.1:%d" % port

    def behind(self, port):
        return {"STORAGE_EMULATOR_HOST": self.endpoint(port)}

    def url(self, name, port):
        return "%s%s?alt=media" % (self.endpoint(port),
                                   self.store.client.object(lib.PREFIX + name))


class Listing(Origin):
    """100,000 keys and nothing behind them (tests/servers/manykeys.py)."""
    name = "listing"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = ManyKeysServer()
        self.port, self.bucket = self.server.port, "bench"
        self.keys = ("key", "secret")
        self.store = lib.S3Store()
        self.store.setup(self.endpoint(self.port), *self.keys, self.bucket)

    def endpoint(self, port):
        return "http://127.0.0.1:%d" % port

    def behind(self, port):
        return {"AWS_ENDPOINT_URL": self.endpoint(port)}


ORIGINS = {o.name: o for o in (Minio, MinioTls, Azurite, FakeGcs, Listing)}
PROGRAMS = {"minio": "bin/minio", "minio tls": "bin/minio",
            "azurite": "azurite/node_modules/.bin/azurite-blob",
            "fake_gcs": "bin/fake-gcs-server", "listing": ""}
