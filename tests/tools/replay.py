#!/usr/bin/python3
"""replay.py - the application's calls on its files, one sequence after the other.

  replay.py ROOT [--only LETTERS] [--files N] [--mb N] [--saves N] [--keep]

ROOT stands for /app/data/mast.  A sequence is named by the letter that workload.md gives it;
each checks what it did and stops the program at the first difference with exit status 1.
What must be in ROOT afterwards is printed as JSON (path -> size) with --keep; without it
everything is deleted the way the application deletes an observation.
"""
import argparse
import fcntl
import hashlib
import json
import mmap
import os
import random
import stat
import sys
import threading
import time

MB = 1 << 20
OBS = "jw02733-o001_t001_nircam_clear-f200w"


def check(what, got, want):
    if got != want:
        sys.exit("replay: %s: is %r, should be %r" % (what, got, want))


def content(seed, size):
    """Bytes that differ from page to page and from file to file."""
    unit = hashlib.shake_128(b"replay%d" % seed).digest(MB + 4093)
    return (unit * (size // len(unit) + 1))[:size]


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(256 << 10), b""):
            sha.update(piece)
    return sha.hexdigest()


class Replay:
    def __init__(self, opts):
        self.root, self.opts = opts.root, opts
        self.obs = os.path.join(self.root, OBS)
        self.state = os.path.join(self.root, ".download_state")
        self.size = opts.mb * MB + 1234  # never a multiple of a block

    def body(self, seed):
        return content(seed, self.size)

    def final(self, n):
        return os.path.join(self.obs, "f%d_i2d.fits" % n)

    def same(self, path, seed, what):
        check(what + ": size of " + path, os.path.getsize(path), self.size)
        check(what + ": content of " + path, digest(path),
              hashlib.sha256(self.body(seed)).hexdigest())

    # What the engine does when it is imported.
    def seq_0_startup(self):
        for _ in range(2):
            os.makedirs(self.root, exist_ok=True)
            os.makedirs(self.state, exist_ok=True)
        check("state directory", os.path.isdir(self.state), True)

    def save(self, job, done):
        """DownloadStateManager: 'w' on .tmp, json with indent, close, replace."""
        path = os.path.join(self.state, job + ".json")
        files = [{"filename": os.path.basename(self.final(n)), "local_path": self.final(n),
                  "url": "https://example/" + "u" * 80, "total_bytes": self.size,
                  "downloaded_bytes": done, "status": "downloading"}
                 for n in range(self.opts.files)]
        with open(path + ".tmp", "w") as f:
            json.dump({"job_id": job, "obs_id": OBS, "files": files}, f, indent=2)
        os.replace(path + ".tmp", path)
        return path

    def download(self, n, seed, stop_at=None):
        """One HTTP attempt of the chunked downloader: appends of any size from where it was."""
        part, body = self.final(n) + ".part", self.body(seed)
        os.makedirs(os.path.dirname(part), exist_ok=True)
        start = os.path.getsize(part) if os.path.exists(part) else 0
        rand = random.Random(seed * 1000 + start)
        with open(part, "ab" if os.path.exists(part) else "wb") as f:
            off, end = start, stop_at or len(body)
            while off < end:
                size = min(rand.choice((1021, 65536, 131072, 200003, 400000)), end - off)
                f.write(body[off:off + size])
                off += size
        check("size of .part after close", os.path.getsize(part), off)
        return start

    def seq_A_import(self):
        """Three at a time, .part appends, state saves beside them, rename to the final name."""
        slots, errors = threading.Semaphore(3), []

        def one(n):
            with slots:
                try:
                    self.download(n, n)
                    os.rename(self.final(n) + ".part", self.final(n))
                except BaseException as err:  # a thread's exit must end the program
                    errors.append(err)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(self.opts.files)]
        for thread in threads:
            thread.start()
        for k in range(self.opts.saves):
            path = self.save("job-a", k)
        for thread in threads:
            thread.join()
        check("errors of the downloads", errors, [])
        with open(path) as f:
            check("last state", json.load(f)["files"][0]["downloaded_bytes"],
                  self.opts.saves - 1)
        os.remove(path)
        for n in range(self.opts.files):
            self.same(self.final(n), n, "A")
            check("A: .part is gone", os.path.exists(self.final(n) + ".part"), False)

    def seq_C_resume(self):
        """Cut off twice, found again by listdir, state and getsize; goes on with 'ab'."""
        path, third = self.save("job-c", 0), self.size // 3
        check("C: first start", self.download(0, 7, third), 0)
        check("C: states", sorted(os.listdir(self.state)), ["job-c.json"])
        with open(path) as f:
            local = json.load(f)["files"][0]["local_path"]
        check("C: .part exists", os.path.exists(local + ".part"), True)
        check("C: second start", self.download(0, 7, 2 * third), third)
        check("C: third start", self.download(0, 7), 2 * third)
        os.rename(local + ".part", local)  # over the file that A made
        os.remove(path)
        self.same(local, 7, "C")

    def seq_D_s3transfer(self):
        """Four streams, one writer: 256 KiB pieces in arrival order, so there are holes."""
        final, body = self.final(1), self.body(8)
        temp = final + ".a1B2c3D4"
        streams = [list(range(p, min(p + 8 * MB, len(body)), 256 << 10))
                   for p in range(0, len(body), 8 * MB)]
        rand = random.Random(8)
        with open(temp, "wb") as f:
            while any(streams):
                ready = [s for s in streams[:4] if s] or [s for s in streams if s]
                queue = rand.choice(ready)
                off = queue.pop(0)
                f.seek(off)
                f.write(body[off:off + (256 << 10)])
                streams = [s for s in streams if s]
        os.rename(temp, final)
        self.same(final, 8, "D")

    def seq_E_astroquery(self):
        """Writes the final name itself; a shorter one is appended to after its close."""
        folder = os.path.join(self.obs, "mastDownload", "JWST", OBS)
        os.makedirs(folder, exist_ok=True)
        path, body = os.path.join(folder, OBS + "_cal.fits"), self.body(9)
        half = len(body) // 2
        with open(path, "wb") as f:
            for off in range(0, half, 65536):
                f.write(body[off:min(off + 65536, half)])
        have = os.stat(path).st_size
        check("E: size after the cut", have, half)
        with open(path, "ab") as f:
            for off in range(have, len(body), 65536):
                f.write(body[off:off + 65536])
        self.same(path, 9, "E")
        check("E: cached file is skipped", os.stat(path).st_size == len(body), True)

    def open_like_the_engine(self, path):
        real = os.path.realpath(path)
        check("realpath", real.startswith(os.path.realpath(self.root) + "/"), True)
        check("isfile", os.path.exists(real) and os.path.isfile(real), True)
        return os.stat(real).st_size

    def seq_F_thumbnails(self):
        """Header reads, then the whole file mapped privately and every ninth page touched."""
        for n in range(self.opts.files):
            size = self.open_like_the_engine(self.final(n))
            body = self.body({0: 7, 1: 8}.get(n, n))
            with open(self.final(n), "rb", buffering=65536) as f:
                f.read(30)
                check("F: end", f.seek(0, os.SEEK_END), size)
                f.seek(0)
                check("F: header", f.read(5760), body[:5760])
                dup = fcntl.fcntl(f.fileno(), fcntl.F_DUPFD_CLOEXEC, 0)
                view = mmap.mmap(dup, 0, access=mmap.ACCESS_COPY)
                os.close(dup)
                for off in range(0, size, 9 * 4096):
                    check("F: mapped byte %d" % off, view[off], body[off])
                view[5] = (view[5] + 1) % 256  # private: must not reach the file
                view.close()
            with open(self.final(n), "rb") as f:
                check("F: private write stayed private", f.read(8), body[:8])

    def seq_G_preview(self):
        """The same plane three times over, through a private mapping."""
        body = self.body(7)
        for _ in range(3):
            with open(self.final(0), "rb") as f, \
                    mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as view:
                check("G: mapped content", view[:] == body, True)

    def seq_H_composite(self):
        for n in range(self.opts.files):
            with open(self.final(n), "rb") as f:
                f.seek(self.size // 4)
                want = self.body({0: 7, 1: 8}.get(n, n))
                check("H: middle", f.read(MB), want[self.size // 4:self.size // 4 + MB])

    def seq_I_mosaic(self):
        """.NET CreateNew + FileShare.None: O_EXCL, flock EX, pwrites, close, stat at once."""
        path, body = os.path.join(self.root, "jwst-mosaic-1_i2d.fits"), self.body(3)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for off in range(0, len(body), 81920):
            os.pwrite(fd, body[off:off + 81920], off)
        other = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            check("I: the lock", "was given twice", "refused")
        except BlockingIOError:
            pass
        os.close(other)
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
        check("I: length after close", os.stat(path).st_size, len(body))
        self.same(path, 3, "I")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            check("I: CreateNew on a file", "was allowed", "EEXIST")
        except FileExistsError:
            pass

    def seq_L_upload(self):
        """.NET Create: no O_TRUNC, flock SH, then ftruncate to 0 and pwrites."""
        path, body = os.path.join(self.root, "jwst-mosaic-1_i2d.fits"), self.body(4)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.fstatvfs(fd)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        check("L: size after ftruncate", os.fstat(fd).st_size, 0)
        for off in range(0, len(body), 81920):
            os.pwrite(fd, body[off:off + 81920], off)
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
        self.same(path, 4, "L")

    def seq_J_get_file(self):
        """.NET GetFile: flock SH, sequential preads of 80 KiB."""
        path, body = os.path.join(self.root, "jwst-mosaic-1_i2d.fits"), self.body(4)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        check("J: length", os.fstat(fd).st_size, len(body))
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        off = 0
        while True:
            piece = os.pread(fd, 81920, off)
            if not piece:
                break
            check("J: bytes at %d" % off, piece == body[off:off + len(piece)], True)
            off += len(piece)
        check("J: read", off, len(body))
        os.close(fd)
        os.unlink(path)

    def seq_K_scan(self):
        """Two full walks with a stat a file, as the backend does at its start."""
        found = []
        for suffix in (".fits", ".fits.gz"):
            for folder, _, names in os.walk(self.root):
                for name in names:
                    if name.endswith(suffix):
                        found.append(os.stat(os.path.join(folder, name)).st_size)
        check("K: files found", len(found), self.opts.files + 1)
        check("K: sizes", set(found), {self.size})

    def seq_N_cleanup(self):
        """Old partial files are deleted by mtime, young ones are not."""
        old, young = self.final(90) + ".part", self.final(91) + ".part"
        for path in (old, young):
            with open(path, "wb") as f:
                f.write(b"partial")
        os.utime(old, (time.time() - 30 * 86400,) * 2)
        check("N: mtime of a young file", abs(os.path.getmtime(young) - time.time()) < 60, True)
        for entry in os.listdir(self.root):
            folder = os.path.join(self.root, entry)
            if entry == ".download_state" or not os.path.isdir(folder):
                continue
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if name.endswith(".part") and os.path.getmtime(path) < time.time() - 7 * 86400:
                    os.remove(path)
        check("N: old .part", os.path.exists(old), False)
        check("N: young .part", os.path.exists(young), True)
        os.remove(young)

    def seq_O_reimport(self):
        """A file that is mapped is replaced by rename, then unlinked: the mapping stays."""
        path, old, new = self.final(2), self.body(2), self.body(5)
        with open(path, "rb") as f:
            view = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
            self.download(2, 5)
            os.rename(path + ".part", path)
            check("O: mapped bytes are the old ones", view[:] == old, True)
            view.close()
            self.same(path, 5, "O")
            check("O: the open file too", f.read(4096), old[:4096])
        with open(path, "rb") as f:
            os.unlink(path)
            check("O: read after unlink", f.read() == new, True)
            check("O: name is gone", os.path.exists(path), False)
        self.download(2, 2)
        os.rename(path + ".part", path)

    def seq_P_researcher(self):
        """dup and close in the middle (numpy.tofile), fallocate, an idle second writer."""
        path = os.path.join(self.obs, "dup.fits")
        with open(path, "wb") as f:
            for n in range(7):
                f.write(b"H" * 2880)
                f.flush()
                dup = os.dup(f.fileno())
                try:
                    os.posix_fallocate(dup, f.tell(), 1)
                except OSError:
                    pass  # EOPNOTSUPP is an answer that numpy takes
                os.ftruncate(dup, f.tell())
                os.write(dup, bytes([n]) * 5760)
                os.close(dup)
                f.seek(0, os.SEEK_END)
        check("P: size", os.stat(path).st_size, 7 * 8640)
        with open(path, "rb") as f:
            check("P: content", f.read(), b"".join(
                b"H" * 2880 + bytes([n]) * 5760 for n in range(7)))
        idle = os.open(os.path.join(self.obs, "idle.fits"),
                       os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with open(os.path.join(self.obs, "idle.fits"), "wb") as f:
            f.write(b"S" * 5760)
        os.close(idle)
        with open(os.path.join(self.obs, "idle.fits"), "rb") as f:
            check("P: the idle writer clobbered nothing", f.read(), b"S" * 5760)
        for name in ("dup.fits", "idle.fits"):
            os.unlink(os.path.join(self.obs, name))
        mode = os.stat(self.final(0)).st_mode
        check("P: it is a file", stat.S_ISREG(mode), True)

    def seq_M_delete(self):
        """exists + unlink each file, rmdir only where nothing is left."""
        for folder, _, names in os.walk(self.obs, topdown=False):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.exists(path):
                    os.unlink(path)
            if not os.listdir(folder):
                os.rmdir(folder)
        check("M: observation is gone", os.path.exists(self.obs), False)

    def run(self):
        order = "0ACDEFGHILJKNOPM"
        names = {n.split("_")[1]: n for n in dir(self) if n.startswith("seq_")}
        for letter in order:
            if letter not in (self.opts.only or order) or (letter == "M" and self.opts.keep):
                continue
            start = time.monotonic()
            getattr(self, names[letter])()
            print("ok %s %.3f s" % (names[letter][4:], time.monotonic() - start), flush=True)
        if self.opts.keep:
            print(json.dumps({os.path.relpath(os.path.join(d, f), self.root):
                              os.stat(os.path.join(d, f)).st_size
                              for d, _, fs in os.walk(self.root) for f in fs}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root")
    parser.add_argument("--only")
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--mb", type=int, default=9)
    parser.add_argument("--saves", type=int, default=30)
    parser.add_argument("--keep", action="store_true")
    Replay(parser.parse_args()).run()


if __name__ == "__main__":
    main()
