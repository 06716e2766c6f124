#!/usr/bin/env python3
"""interop.py - what other programs' libraries do with a bucket, each behind the same words.

  interop.py CLIENT   with a JSON object on its standard input:
      {"do": "put", "name": ..., "data": ..., "mtime": ...}    made as that client makes it
      {"do": "get", "name": ...}       -> {"data": ..., "size": ...}
      {"do": "list", "dir": ...}       -> {"names": {name: size or null for a directory}}
      {"do": "stat", "name": ...}      -> {"size": ..., "metadata": {...}}
  and in both the place: {"url", "bucket", "prefix", "key", "secret", "connection"}.

Runs in the virtual environment of tests/tools/build.sh.  data is text of latin-1.
"""
import json
import os
import sys


class Fsspec:
    """s3fs, adlfs and gcsfs: paths below bucket/prefix."""

    def __init__(self, place, fs):
        self.fs, self.root = fs, place["bucket"] + "/" + place["prefix"]

    def put(self, name, data, _mtime):
        with self.fs.open(self.root + name, "wb") as f:
            f.write(data)

    def get(self, name):
        with self.fs.open(self.root + name, "rb") as f:
            return f.read()

    def names(self, folder):
        top = (self.root + folder).rstrip("/")
        return {e["name"].rstrip("/")[len(top) + 1:]:
                None if e["type"] == "directory" else e["size"]
                for e in self.fs.ls(top, detail=True)
                if e["name"].rstrip("/") != top}

    def stat(self, name):
        return self.fs.info(self.root + name)["size"], None


def s3fs(place):
    import s3fs as lib
    return Fsspec(place, lib.S3FileSystem(key=place["key"], secret=place["secret"],
                                          endpoint_url=place["url"],
                                          use_listings_cache=False))


def adlfs(place):
    import adlfs as lib
    return Fsspec(place, lib.AzureBlobFileSystem(connection_string=place["connection"],
                                                 use_listings_cache=False))


def gcsfs(place):
    # Else it asks by gRPC, which no emulator speaks, what kind of bucket this is.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    import gcsfs as lib
    return Fsspec(place, lib.GCSFileSystem(endpoint_url=place["url"], token="anon",
                                           project="test", use_listings_cache=False))


class AzureSdk:
    def __init__(self, place):
        from azure.storage.blob import ContainerClient
        self.prefix = place["prefix"]
        self.container = ContainerClient.from_connection_string(
            place["connection"], place["bucket"], api_version="2021-12-02")

    def put(self, name, data, mtime):
        self.container.upload_blob(self.prefix + name, data, overwrite=True,
                                   metadata={"mtime": mtime} if mtime else None)

    def get(self, name):
        return self.container.download_blob(self.prefix + name).readall()

    def names(self, folder):
        top, found = self.prefix + folder, {}
        for item in self.container.walk_blobs(top, delimiter="/"):
            name = item.name[len(top):].rstrip("/")
            if name:
                found[name] = None if item.name.endswith("/") else item.size
        return found

    def stat(self, name):
        found = self.container.get_blob_client(self.prefix + name).get_blob_properties()
        return found.size, dict(found.metadata)


class GoogleSdk:
    def __init__(self, place):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
        self.prefix = place["prefix"]
        client = storage.Client(project="test", credentials=AnonymousCredentials(),
                                client_options={"api_endpoint": place["url"]})
        self.bucket = client.bucket(place["bucket"])

    def put(self, name, data, mtime):
        blob = self.bucket.blob(self.prefix + name)
        if mtime:
            blob.metadata = {"mtime": mtime}
        blob.upload_from_string(data)

    def get(self, name):
        return self.bucket.blob(self.prefix + name).download_as_bytes()

    def names(self, folder):
        top = self.prefix + folder
        found = self.bucket.client.list_blobs(self.bucket, prefix=top, delimiter="/")
        names = {b.name[len(top):]: b.size for b in found if b.name != top}
        names.update({p[len(top):-1]: None for p in found.prefixes})
        return names

    def stat(self, name):
        blob = self.bucket.get_blob(self.prefix + name)
        return blob.size, blob.metadata


CLIENTS = {"s3fs": s3fs, "adlfs": adlfs, "gcsfs": gcsfs, "azure-storage-blob": AzureSdk,
           "google-cloud-storage": GoogleSdk}


def main():
    asked = json.load(sys.stdin)
    client = CLIENTS[sys.argv[1]](asked["place"])
    answers = []
    for step in asked["steps"]:
        answer = {}
        if step["do"] == "put":
            client.put(step["name"], step["data"].encode("latin-1"), step.get("mtime"))
        elif step["do"] == "get":
            answer["data"] = client.get(step["name"]).decode("latin-1")
        elif step["do"] == "list":
            answer["names"] = client.names(step["dir"])
        elif step["do"] == "stat":
            answer["size"], answer["metadata"] = client.stat(step["name"])
        answers.append(answer)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
