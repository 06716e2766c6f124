"""cloud.py - Azure and Google stores for the end-to-end tests (see lib.py for the others)."""
import os
import subprocess
import uuid

from lib import PREFIX, free_port, read, wait  # first: it sets the path

import azurectl
import gcsctl

AZURITE = os.environ.get("MASTFS_AZURITE", "")
FAKE_GCS = os.environ.get("MASTFS_FAKE_GCS", "")


class Server:
    """One for the whole run; each test has a container or bucket of its own."""

    def __init__(self, folder, args, env=None):
        self.log = open(os.path.join(folder, "server.log"), "wb")
        self.process = subprocess.Popen(
            args, stdout=self.log, stderr=self.log, cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})})
        wait("%s answers" % args[0], self.alive, 60)

    def alive(self):
        assert self.process.poll() is None, read(self.log.name)[-2000:]
        try:
            self.make("ready")
            return True
        except (OSError, azurectl.AzureError, gcsctl.GcsError):
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class AzuriteServer(Server):
    def __init__(self, folder):
        port = free_port()
        self.url = "http://127.0.0.1:%d/%s" % (port, azurectl.ACCOUNT)
        super().__init__(folder, [
            AZURITE, "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port),
            "--inMemoryPersistence", "--disableProductStyleUrl", "--disableTelemetry",
            "--skipApiVersionCheck"])  # of newer clients; the contract's has it

    def make(self, name):
        azurectl.Azure(self.url, name).make_container()


class FakeGcsServer(Server):
    def __init__(self, folder):
        port = free_port()
        self.url = "http://127.0.0.1:%d" % port
        super().__init__(folder, [
            FAKE_GCS, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
            "-backend", "memory", "-public-host", "127.0.0.1:%d" % port,
            "-external-url", self.url, "-log-level", "warn"])

    def make(self, name):
        gcsctl.Gcs(self.url, name).make_bucket()


class Store:
    """What both have in common; client is the other program that looks at the bucket."""

    def get(self, name):
        try:
            return self.client.get(PREFIX + name)
        except (azurectl.AzureError, gcsctl.GcsError) as err:
            if err.status != 404:
                raise
            return None

    def put(self, name, data=b"", path=None):
        self.client.put(PREFIX + name, read(path) if path else data)

    def delete(self, name):
        self.client.delete(PREFIX + name)

    def files(self):
        return [k[len(PREFIX):] for k in self.keys()
                if k.startswith(PREFIX) and not k.endswith("/")]

    def uploads(self):
        return []

    def late_uploads(self, _deaths):
        return []

    def stop(self):
        pass


class AzuriteStore(Store):
    name = "azurite"

    def __init__(self, server):
        self.bucket, self.url = "c" + uuid.uuid4().hex[:12], server.url
        self.client = azurectl.Azure(server.url, self.bucket)
        self.client.make_container()
        self.source = "az://%s/%s/%s" % (azurectl.ACCOUNT, self.bucket, PREFIX.rstrip("/"))
        self.env = {"AZURE_STORAGE_CONNECTION_STRING": azurectl.connection_string(server.url)}

    def keys(self):
        return self.client.list()

    def uploads(self):
        """Names that have uncommitted blocks and nothing else."""
        return sorted(set(self.client.list(include="uncommittedblobs")) - set(self.keys()))


class GcsStore(Store):
    def setup(self, url, bucket):
        self.url, self.bucket = url, bucket
        self.client = gcsctl.Gcs(url, bucket)
        self.source = "gs://%s/%s" % (bucket, PREFIX.rstrip("/"))
        self.env = {"STORAGE_EMULATOR_HOST": url}

    def keys(self):
        return sorted(item["name"] for item in self.client.list()[0])


class FakeGcsStore(GcsStore):
    name = "fake_gcs"

    def __init__(self, server):
        self.setup(server.url, "b" + uuid.uuid4().hex[:12])
        self.client.make_bucket()


class GcsdStore(GcsStore):
    name = "gcsd"
    sends = ("POST", "PUT")

    def __init__(self, folder, *args):
        self.server = gcsctl.Gcsd(folder, *args)
        self.setup(self.server.url, "test")

    def uploads(self):
        return [u["key"] for u in self.server.uploads()]

    def late_uploads(self, deaths):
        """Sessions of a daemon that died: nobody else has their address, and Google forgets
        them."""
        return [u["key"] for u in self.server.uploads() if any(
            u["begun"] < died for died in deaths)]

    def stop(self):
        self.server.stop()
