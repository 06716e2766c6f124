"""nth - every n of the programs in which the n-th call fails (tests/unit/nth.h).

  tests/torture nth [--build DIR] [PREFIX ...]

A PREFIX is of "scenario:kind:once" or "scenario:kind:sticky", as the lines tell them that are
printed: names-close, writes-background:vfs, reads:malloc:sticky.  Without one all are run.
The programs are those of `meson setup DIR && ninja -C DIR`.
"""
import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def programs(build):
    found = sorted(p for p in (build / "tests" / "unit").glob("test_nth_*") if p.is_file())
    if not found:
        sys.exit(f"nth: no test_nth_* in {build}/tests/unit: build them first")
    return found


def run(program, prefix):
    """Its lines as they come, and those that count, summed up."""
    env = dict(os.environ, MASTFS_EVERY="1")
    if prefix:
        env["MASTFS_NTH"] = prefix
    sums = {}
    with subprocess.Popen([program], env=env, text=True, errors="replace",
                          stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            words = line.split()
            if len(words) > 6 and words[0] == "nth":
                runs, hit = sums.get(words[2], (0, 0))
                sums[words[2]] = runs + int(words[6]), hit + int(words[8])
    return process.returncode, sums


def main():
    parser = argparse.ArgumentParser(prog="tests/torture nth")
    parser.add_argument("--build", type=pathlib.Path,
                        default=os.environ.get("MASTFS_BUILD", ROOT / "build"))
    parser.add_argument("prefix", nargs="*", default=[""])
    args = parser.parse_args()
    bad, total = 0, {}
    for program in programs(pathlib.Path(args.build)):
        for prefix in args.prefix:
            status, sums = run(program, prefix)
            bad += status != 0
            for kind, (runs, hit) in sums.items():
                r, h = total.get(kind, (0, 0))
                total[kind] = r + runs, h + hit
    for kind, (runs, hit) in sorted(total.items()):
        print(f"nth: {kind}: {runs} runs, {hit} in which a call failed")
    if not total:
        sys.exit("nth: nothing was run")
    sys.exit(f"nth: {bad} programs found something" if bad else 0)


if __name__ == "__main__":
    main()
