"""rules.py - which requests a scripted server lies to.

A rule is {"match": {...}, "act": {...}}.  It matches by
  op          what the request is for (the server's op_of: get, head, list, put, begin, part,
              finish, abort, delete, copy ...), or a list of such
  method      key_re, query_re (searched; the key of a listing is its prefix)
  header      the name of one that the request has
and acts from its nth match (from 1) for count matches (0 = for ever, the default).  With
  p, seed     it acts on that part of its matches.  The draw depends on the seed, the op, the
              key and how often that was asked, and on nothing else: the order in which
              connections come does not change what one request meets.

The act {"kind": "random"} is one of RANDOM, drawn in the same way: faults that a client gets
over.  "kinds" narrows it: ["reset", "drop_reply"].
"""
import random
import re
import threading

OFTEN = ({"kind": "reset"}, {"kind": "drop_reply"}, {"kind": "delay", "secs": 0.2},
         {"kind": "status", "status": 503, "code": "SlowDown"},
         {"kind": "status", "status": 500, "code": "InternalError"},
         {"kind": "status", "status": 429, "code": "TooManyRequests"})
RANDOM = {
    "get": ({"kind": "close_at", "at": 70000}, {"kind": "close_at", "at": 9, "rst": True},
            {"kind": "short", "by": 1}, {"kind": "ignore_range"}, {"kind": "error_200"},
            {"kind": "lie_range", "shift": 4096}, {"kind": "stall", "at": 5000, "secs": 0.3}),
    "list": ({"kind": "close_at", "at": 150}, {"kind": "short", "by": 20},
             {"kind": "error_200"}),
    "finish": ({"kind": "error_200"},),
    "copy": ({"kind": "error_200"},),
}


def is_one_of(value, wanted):
    return wanted is None or value == wanted or isinstance(wanted, list) and value in wanted


class Rules:
    def __init__(self):
        self.lock, self.rules = threading.Lock(), []

    def add(self, rules):
        with self.lock:
            self.rules += [{"match": r.get("match", {}), "act": r["act"], "seen": 0,
                            "asked": {}} for r in rules]

    def clear(self):
        with self.lock:
            self.rules = []

    def find(self, req):
        """The act for this request; {} if it is to be answered honestly."""
        if not self.rules:
            return {}
        with self.lock:
            for rule in self.rules:
                if matches(rule["match"], req):
                    act = chosen(rule, req)
                    if act:
                        req.rule = rule
                        return act
        return {}

    def take_back(self, req):
        """It did not arrive whole, and met nothing: the next one does."""
        with self.lock:
            if req.rule:
                req.rule["seen"] -= 1


def matches(match, req):
    return (is_one_of(req.op, match.get("op"))
            and is_one_of(req.method, match.get("method"))
            and re.search(match.get("key_re", ""), req.subject)
            and re.search(match.get("query_re", ""), req.query)
            and match.get("header") in (None, *req.headers))


def chosen(rule, req):
    match, act = rule["match"], rule["act"]
    nth, count = match.get("nth", 1), match.get("count", 0)
    if count and rule["seen"] >= nth + count - 1:
        return None  # not counted: one that is taken back later makes room for the next
    rule["seen"] += 1
    if rule["seen"] < nth:
        return None
    if "p" not in match and act["kind"] != "random":
        return act
    what = (req.op, req.subject, req.args.get("partNumber"), req.headers.get("range"))
    asked = rule["asked"][what] = rule["asked"].get(what, 0) + 1
    draw = random.Random("%s %s %s" % (match.get("seed", 0), what, asked))
    if draw.random() >= match.get("p", 1):
        return None
    if act["kind"] != "random":
        return act
    kinds = act.get("kinds")
    fit = [a for a in OFTEN + RANDOM.get(req.op, ()) if not kinds or a["kind"] in kinds]
    return draw.choice(fit) if fit else None
