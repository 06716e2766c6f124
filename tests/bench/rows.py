"""rows.py - what a row of the table is: a scenario, its figures and their bars."""
import statistics


class Figure:
    """One number of a row.  how: "of" the limit's speed (limit / ours, at least bar);
    "times" the limit (ours / limit, at most bar); "value" (ours, at most bar)."""

    def __init__(self, key, label, unit, how, bar):
        self.key, self.label, self.unit, self.how, self.bar = key, label, unit, how, bar

    def ratio(self, ours, limit):
        if self.how == "value":
            return ours
        if not limit or not ours:
            return None
        return limit / ours if self.how == "of" else ours / limit

    def met(self, ratio):
        return ratio >= self.bar if self.how == "of" else ratio <= self.bar


class Row:
    """name, title, link; origin: which server; kinds: what clients it suits; counted:
    whether bytes and rounds matter, not only times; about: what the limit is; upload: the
    option of that name."""
    name = title = about = ""
    link, origin, kinds, counted = "wan200", "minio", ("mount",), False
    upload, figures = "close", ()
    peers = True

    def prepare(self, world):
        """Files, objects; what is the same for every repetition."""

    def limit(self, _world, _port):
        """Figures of the limit, or None where the run itself measures them."""
        return None

    def run(self, world, client, link):
        """Figures of one client, start and end of the time that counts; raises where
        bytes are wrong."""
        raise NotImplementedError


class Results:
    """samples[client]: one dict a repetition, of figures, requests, gets, bytes, rounds,
    cpu, rss and, under "limit", the limit's figures of that repetition."""

    def __init__(self, row):
        self.row, self.samples, self.failed, self.program = row, {}, {}, ""

    def add(self, client, sample):
        self.samples.setdefault(client, []).append(sample)

    def values(self, client, key):
        found = [s.get(key) for s in self.samples.get(client, [])]
        return [v for v in found if v is not None]

    def median(self, client, key):
        values = self.values(client, key)
        return statistics.median(values) if values else None

    def spread(self, client, key):
        values = self.values(client, key)
        return (min(values), max(values)) if values else None

    def limit(self, client, key):
        values = [s["limit"][key] for s in self.samples.get(client, [])
                  if key in (s.get("limit") or {})]
        return statistics.median(values) if values else None

    def ratio(self, client, figure):
        """The median of each repetition's ratio."""
        pairs = [(s.get(figure.key), (s.get("limit") or {}).get(figure.key))
                 for s in self.samples.get(client, [])]
        found = [figure.ratio(a, b) for a, b in pairs if a is not None]
        found = [r for r in found if r is not None]
        return statistics.median(found) if found else None
