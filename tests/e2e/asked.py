"""asked.py - how a mount is asked how it is, and Prometheus' text format read strictly."""
import json
import math
import os
import re

from lib import wait

WELL, WRONG, USAGE, DEAD = 0, 1, 2, 3


def ask(m, *args):
    """The exit status and the object that --json gives of one mount."""
    done = m.run("status", "--json", *args, m.point)
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def quiet(m):
    done = m.run("status", "--quiet", m.point)
    assert (done.stdout, done.stderr) == ("", "")
    return done.returncode


def socket_of(m):
    """Root's.  The mount is in the table a moment before it is there."""
    st = os.lstat(m.point)
    path = "/run/mastfs/%d:%d" % (os.major(st.st_dev), os.minor(st.st_dev))
    wait("its socket", lambda: os.path.exists(path))
    return path


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(r"^(%s)(?:\{(%s(?:,%s)*)?\})? (\S+)$" % (NAME, LABEL, LABEL))
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def unescape(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), text)


def labels_of(text):
    pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', text or "")
    assert len({name for name, _ in pairs}) == len(pairs), "a label twice: " + text
    return tuple((name, unescape(value)) for name, value in pairs)


def check_histogram(name, samples):
    """Per set of the other labels: ascending bounds, cumulated counts, +Inf = count."""
    series = {}
    for labels, value in samples[name + "_bucket"].items():
        others = tuple(pair for pair in labels if pair[0] != "le")
        series.setdefault(others, []).append((float(dict(labels)["le"]), value))
    for others, buckets in series.items():
        assert buckets == sorted(buckets), "buckets out of order"
        assert [n for _, n in buckets] == sorted(n for _, n in buckets), "not cumulated"
        assert buckets[-1][0] == math.inf
        assert buckets[-1][1] == samples[name + "_count"][others]
        assert samples[name + "_sum"][others] >= 0
    assert series.keys() == samples[name + "_count"].keys() == samples[name + "_sum"].keys()


def prometheus(text):
    """{name: {((label, value), ...): number}}; every rule of the format 0.0.4 that applies
    is an assertion."""
    assert text.endswith("\n")
    families, samples, current = {}, {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _ = line[7:].split(" ", 1)
            assert name not in families, "a second HELP of " + name
            families[name], current = None, name
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and families[name] is None and kind in SUFFIXES
            assert (kind == "counter") == name.endswith("_total"), name
            families[name] = kind
            for suffix in SUFFIXES[kind]:
                samples[name + suffix] = {}
        else:
            match = SAMPLE.match(line)
            assert match, "no sample: %r" % line
            name, labels = match.group(1), labels_of(match.group(2))
            assert name in {current + suffix for suffix in SUFFIXES[families[current]]}, (
                "%s outside of its family" % name)
            assert labels not in samples[name], "twice: " + line
            value = float(match.group(3))
            assert value >= 0 and math.isfinite(value)
            samples[name][labels] = value
    for name, kind in families.items():
        assert name.startswith("mastfs_") and kind
        if kind == "histogram":
            check_histogram(name, samples)
    return samples
