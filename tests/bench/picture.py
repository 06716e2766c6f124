"""picture.py - one bar a program in each scenario, as SVG: how many times what the limit
takes, the shorter the better."""
from xml.sax.saxutils import escape

COLOURS = ("#0b6e99", "#b0b0b0", "#c9c9a0", "#a8a860", "#c79a6b", "#9b86b8", "#8fb59a")
WIDE, LABEL, HIGH, GAP, MOST = 860, 270, 9, 10, 8.0


def text(x, y, what, anchor="start", size=11, fill="#222"):
    return '<text x="%d" y="%d" font-size="%d" text-anchor="%s" fill="%s">%s</text>' % (
        x, y, size, anchor, fill, escape(what))


def bars(everything, clients):
    """(title, [(client, times the limit)]) of each figure that can be compared."""
    for results in everything:
        for f in results.row.figures:
            limit = results.limit("mastfs", f.key)
            if f.unit not in ("s", "ms") or not limit:
                continue
            found = []
            for n, client in enumerate(clients):
                ratio = results.ratio(client, f)
                if ratio and f.how == "value":
                    ratio = ratio / limit
                elif ratio and f.how == "of":
                    ratio = 1 / ratio
                if ratio:
                    found.append((n, ratio))
            if found:
                yield results.row.title + (", " + f.label if f.label else ""), found


def legend(clients, y):
    out, x = [], LABEL
    for n, client in enumerate(clients):
        out.append('<rect x="%d" y="%d" width="10" height="10" fill="%s"/>' % (
            x, y - 9, COLOURS[n % len(COLOURS)]))
        out.append(text(x + 14, y, client))
        x += 30 + 7 * len(client)
    return out


def svg(everything, clients):
    scale, y = (WIDE - LABEL - 60) / MOST, 50
    out = [text(10, 20, "Time, as a multiple of what the link or the disk allows "
                "(line: the limit; shorter is better)", size=13), *legend(clients, 38)]
    for title, found in bars(everything, clients):
        out.append(text(LABEL - 8, y + HIGH * (len(found) + 1) // 2 + 3, title, "end"))
        for n, ratio in found:
            wide = min(ratio, MOST) * scale
            out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' % (
                LABEL, y, wide, HIGH - 1, COLOURS[n % len(COLOURS)]))
            out.append(text(LABEL + wide + 4, y + HIGH - 1, "%.2f" % ratio, size=9))
            y += HIGH
        y += GAP
    line = LABEL + scale
    out.append('<line x1="%d" y1="46" x2="%d" y2="%d" stroke="#c00"/>' % (line, line, y))
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
            'font-family="sans-serif"><rect width="100%%" height="100%%" fill="#fff"/>\n%s\n'
            "</svg>\n" % (WIDE, y + 10, "\n".join(out)))
