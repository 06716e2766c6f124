"""Run the fuzz targets of tests/fuzz under libFuzzer, with address and undefined sanitizers.

    tests/torture fuzz [TARGET...] [--seconds S | --runs N] [--jobs J] [--seed SEED]
    tests/torture fuzz TARGET --replay FILE

Inputs that reach something new are kept in the work directory and are the next run's start.
A failure prints the line that repeats it.  Its input belongs into tests/fuzz/regress/TARGET
once the fault is mended: the unit tests run that in every tree.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUZZ = os.path.join(ROOT, "tests", "fuzz")
NO_CLANG = 77  # the exit status that says so
# Longer inputs than these bring nothing new.
MAX_LEN = {"config": 1024, "dbfile": 256, "fits": 6000, "json": 2048, "list": 2048, "names": 256,
           "range": 512, "rows": 256}
TIMEOUT_S = 60  # for one input, by the clock: an endless loop, also where much else runs
MEMORY_MB = 1024


def targets():
    names = sorted(f[5:-2] for f in os.listdir(FUZZ) if f.startswith("fuzz_") and f.endswith(".c"))
    assert set(names) == set(MAX_LEN), "MAX_LEN knows other targets than tests/fuzz has"
    return names


def work_directory():
    """Where tests/run keeps what belongs to this checkout."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = os.environ.get("MASTFS_WORK") or os.path.join(cache, "mastfs-tests")
    out = subprocess.run(["cksum"], input=ROOT.encode(), stdout=subprocess.PIPE, check=True)
    return os.path.join(base, out.stdout.split()[0].decode())


def can_build():
    """clang, and the libFuzzer that goes with it: a package of its own."""
    if not shutil.which("clang"):
        return False
    code = b"int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return !p && n; }"
    return subprocess.run(["clang", "-x", "c", "-fsanitize=fuzzer,address", "-o", "/dev/null", "-"],
                          input=code, stderr=subprocess.DEVNULL).returncode == 0


def build(tree, names):
    os.makedirs(os.path.dirname(tree), exist_ok=True)
    with open(tree + ".log", "w") as log:
        run = lambda *a, **k: subprocess.run(a, stdout=log, stderr=log, **k).returncode  # noqa: E731
        if not os.path.exists(os.path.join(tree, "build.ninja")):
            shutil.rmtree(tree, ignore_errors=True)
            if run("meson", "setup", tree, ROOT, "-Dbuildtype=debug", "-Doptimization=2",
                   "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=enabled",
                   env=dict(os.environ, CC="clang")):
                sys.exit(f"fuzz: meson setup failed, see {tree}.log")
        if run("ninja", "-C", tree, *[f"tests/fuzz/fuzz_{n}" for n in names]):
            sys.exit(f"fuzz: the build failed, see {tree}.log")


def environment():
    # Short stacks and little that waits to be freed: twice as fast.
    return dict(os.environ, ASAN_OPTIONS="malloc_context_size=2:quarantine_size_mb=4:"
                "allocator_release_to_os_interval_ms=-1:max_malloc_fill_size=512",
                UBSAN_OPTIONS="print_stacktrace=1")


def figures(text):
    """Runs and edges, by libFuzzer's last line about them."""
    found = re.findall(r"^#(\d+)\s.*?cov: (\d+)", text, re.M)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def fuzz(name, tree, work, args):
    """True if nothing was found; prints one line."""
    kept = os.path.join(work, "fuzz-corpus", name)
    found = os.path.join(work, "fuzz-found", name)
    for directory in (kept, found):
        os.makedirs(directory, exist_ok=True)
    limit = [f"-runs={args.runs}"] if args.runs else [f"-max_total_time={args.seconds}"]
    given = [d for d in (os.path.join(FUZZ, "corpus", name), os.path.join(FUZZ, "regress", name))
             if os.path.isdir(d)]
    command = [os.path.join(tree, "tests", "fuzz", "fuzz_" + name), f"-max_len={MAX_LEN[name]}",
               f"-seed={args.seed}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}",
               f"-artifact_prefix={found}/", f"-dict={FUZZ}/dict/{name}.dict", *limit, kept, *given]
    start = time.monotonic()
    with open(os.path.join(work, f"fuzz-{name}.log"), "w+") as log:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env=environment()).returncode
        log.seek(0)
        text = log.read()
    seconds = max(time.monotonic() - start, 0.001)
    runs, edges = figures(text)
    word = "FAILED" if status or not runs else "ok"
    print(f"{word:6} fuzz {name:8} {runs:10d} runs {runs / seconds:8.0f}/s {edges:6d} edges "
          f"seed {args.seed}", flush=True)
    if word == "FAILED":
        input_file = re.search(r"Test unit written to (\S+)", text)
        print(text[-6000:])
        print(f"repeat with: tests/torture fuzz {name} " + (
            f"--replay {input_file.group(1)}" if input_file else f"--seed {args.seed}"), flush=True)
    return word == "ok"


def main():
    p = argparse.ArgumentParser(prog="tests/torture fuzz", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("target", nargs="*", help=", ".join(targets()) + "; none: all")
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--runs", type=int, default=0)
    p.add_argument("--jobs", type=int, default=2, help="targets at the same time")
    p.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    p.add_argument("--replay", metavar="FILE")
    args = p.parse_args()
    names = args.target or targets()
    if set(names) - set(targets()) or (args.replay and len(names) != 1):
        p.error("targets are " + ", ".join(targets()))
    if not can_build():
        print("fuzz: needs clang with libFuzzer (Debian: clang, libclang-rt-NN-dev)",
              file=sys.stderr)
        return NO_CLANG
    work = work_directory()
    tree = os.path.join(work, "fuzz")
    build(tree, names)
    if args.replay:
        command = [os.path.join(tree, "tests", "fuzz", "fuzz_" + names[0]), args.replay]
        return subprocess.run(command, env=environment()).returncode
    with ThreadPoolExecutor(args.jobs) as pool:
        good = list(pool.map(lambda n: fuzz(n, tree, work, args), names))
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
