"""report.py - what was measured, as text, as tables for the README, as JSON."""
import json
import os

import picture


def number(value, unit=""):
    if value is None:
        return "–"
    digits = 0 if unit == "" and value == int(value) else 3 if abs(value) < 1 else \
        2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return ("%.*f %s" % (digits, value, unit)).rstrip()


def amount(size):
    return "–" if size is None else number(size / 1e6, "MB")


def bar(figure):
    if figure.bar is None:
        return "–"
    sign, unit = ("≥", "") if figure.how == "of" else ("≤", "")
    if figure.how == "value":
        unit = " " + figure.unit
    return ("%s %g%s" % (sign, figure.bar, unit)).rstrip()


def verdict(figure, ratio):
    if ratio is None or figure.bar is None:
        return ""
    return "met" if figure.met(ratio) else "not met"


def lines(results, client):
    for f in results.row.figures:
        low_high = results.spread(client, f.key)
        if not low_high:
            continue
        ratio = results.ratio(client, f)
        yield "    %-18s %-22s median %-10s (%s to %s)  limit %-10s %s %s  bar %s  %s" % (
            client, f.label, number(results.median(client, f.key), f.unit),
            *(number(v) for v in low_high), number(results.limit(client, f.key), f.unit),
            "ratio" if f.how != "value" else "value", number(ratio), bar(f),
            verdict(f, ratio) if client == "mastfs" else "")


def costs(results, client):
    m = [results.median(client, k) for k in ("requests", "gets", "rounds", "bytes", "cpu", "rss")]
    return [number(m[0]), number(m[1]), number(m[2]), amount(m[3]), number(m[4], "s"),
            number(m[5] / 2**20 if m[5] else None, "MiB")]


def text(results):
    row = results.row
    out = ["%s: %s (link: %s by %s; limit: %s)" % (
        row.name, row.title, row.link, results.program, row.about or "–")]
    for client in results.samples:
        out += lines(results, client)
        out.append("    %-18s requests %s, data GETs %s, rounds %s, bytes %s, CPU %s, "
                   "resident %s" % (client, *costs(results, client)))
    out += ["    %-18s failed: %s" % (c, " ".join(why.split())[:200])
            for c, why in results.failed.items()]
    return "\n".join(out)


def short(figure):
    return figure.label and ", " + figure.label


def cell(results, client, figure):
    if client in results.failed and client not in results.samples:
        return "fails"
    value = results.median(client, figure.key)
    if value is None:
        return "–"
    shown = number(value, figure.unit)
    low, high = results.spread(client, figure.key)
    if client == "mastfs" and low != high:
        return "%s (%s–%s)" % (shown, number(low), number(high))
    if figure.how != "value" and client != "mastfs":
        return "%s (%s)" % (shown, number(results.ratio(client, figure)))
    return shown


def most(everything, client):
    peaks = [v for r in everything for v in r.values(client, "rss")]
    return max(peaks) / 2**20 if peaks else None


def fill_memory(everything, clients):
    """The memory row's maximum is of all rows."""
    for results in everything:
        if results.row.name == "memory":
            for client in clients:
                for sample in results.samples.get(client, []):
                    sample["most"] = most(everything, client)


def table(everything, clients):
    """One line a figure: bar, ratio, mastfs (in brackets its spread), limit, each peer (in
    brackets its own ratio)."""
    head = ["scenario", "bar", "ratio", clients[0], "limit", *clients[1:]]
    out = [head, ["---"] * len(head)]
    for results in everything:
        for f in results.row.figures:
            ratio = results.ratio("mastfs", f)
            mark = {"met": " ✓", "not met": " ✗", "": ""}[verdict(f, ratio)]
            out.append([results.row.title + short(f), bar(f),
                        (number(ratio) if f.how != "value" else "") + mark,
                        cell(results, "mastfs", f),
                        number(results.limit("mastfs", f.key), f.unit),
                        *(cell(results, c, f) for c in clients[1:])])
    return "".join("| %s |\n" % " | ".join(cells) for cells in out)


def cost_table(everything, clients):
    out = ["| scenario | program | requests | data GETs | rounds | bytes | CPU | resident |",
           "|---" * 8 + "|"]
    for results in everything:
        out += ["| %s | %s | %s |" % (results.row.title, c, " | ".join(costs(results, c)))
                for c in clients if c in results.samples]
    return "\n".join(out) + "\n"


def write(everything, opts, clients):
    fill_memory(everything, clients)
    tables = table(everything, clients) + "\n" + cost_table(everything, clients)
    print(tables)
    if not opts.write:
        return
    os.makedirs(opts.write, exist_ok=True)
    with open(os.path.join(opts.write, "bench.md"), "w") as f:
        f.write("%d repetitions, medians; a file of %d MB\n\n%s" % (
            opts.times, opts.mb, tables))
    with open(os.path.join(opts.write, "bench.svg"), "w") as f:
        f.write(picture.svg(everything, clients))
    with open(os.path.join(opts.write, "bench.json"), "w") as f:
        json.dump([{"row": r.row.name, "link": r.program, "failed": r.failed,
                    "samples": r.samples} for r in everything], f, indent=1)
