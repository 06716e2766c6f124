"""manual.py TEMPLATE MASTFS OUTPUT SYSCONFDIR - the manual: prose from the template, verbs and options
from what the executable says of them, so that the two cannot differ.

In the template stand, each on a line of its own: @SYNOPSIS@, @VERBS@, @OPTIONS@, @KEYS@;
and anywhere @VERSION@ and @SYSCONFDIR@.
"""
import re
import subprocess
import sys

ROW = re.compile(r"^ {2,4}(\S(?:\S| (?! ))*)(?: {2,}(.*))?$")  # "  term   what it means"


def ask(mastfs, *args):
    return subprocess.run([mastfs, *args], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def escape(text):
    """As it stands, also at the beginning of a line; a list that is longer than one may break."""
    for char, name in (("\\", "\\e"), ("-", "\\-"), ("~", "\\(ti"), ("^", "\\(ha"),
                       ("'", "\\(aq"), ("`", "\\(ga")):
        text = text.replace(char, name)
    text = re.sub(r"\S{50,}", lambda m: re.sub(r"([]:])", r"\1\\:", m[0]), text)
    return "\\&" + text if text.startswith((".", "'")) else text


def term(text):
    """name=VALUE: what is typed in bold, what stands for something in italics."""
    name, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[a-z_]+", name):
        return "\\fB%s\\fR" % escape(text)
    font = "I" if value.upper() == value else "B"
    return "\\fB%s\\fR=\\f%s%s\\fR" % (escape(name), font, escape(value))


def render(lines):
    """Paragraphs, and rows of a term and its meaning; a row's further lines are deeper."""
    out, row = [], False
    for line in lines:
        found = ROW.match(line)
        if not line.strip():
            out.append(".PP")
            row = False
        elif row and line.startswith("     "):
            out.append(escape(line.strip()))
        elif found:
            out += [".TP", term(found[1])]
            out += [escape(found[2])] if found[2] else []
            row = True
        else:
            out += [".PP"] if row else []
            out.append(escape(line.strip()))
            row = False
    while out and out[-1] == ".PP":
        out.pop()
    return out[1:] if out[:1] == [".PP"] else out


def split_usage(text):
    """The lines of usage, and what comes after them."""
    lines = text.splitlines()
    end = lines.index("") if "" in lines else len(lines)
    usage = [re.sub(r"^(usage:|  *or:|) *", "", line) for line in lines[:end]]
    return usage, lines[end + 1:]


def synopsis(usages):
    out = []
    for usage in usages:
        for line in usage:
            out += [".br"] if out else []
            out.append(re.sub(r"^(mastfs)( \S+)?", lambda m: "\\fB%s\\fR" % m[0], escape(line)))
    return out


def verbs(mastfs):
    """(name, meaning, usage, help) of each."""
    overview = ask(mastfs, "help")
    for name, meaning in re.findall(r"^  ([a-z]+) +(\S.*)$", overview, re.M):
        text = ask(mastfs, "help", name)
        usage, rest = ["mastfs " + name + " [VERB]" * (name == "help")], []
        if text != overview:
            usage, rest = split_usage(text)
        yield name, meaning, usage, rest


def parts(mastfs):
    """What stands in for each placeholder, as lines."""
    found = {"SYNOPSIS": [], "VERBS": [], "OPTIONS": [], "KEYS": []}
    usages = []
    for name, meaning, usage, rest in verbs(mastfs):
        usages.append(usage)
        if name == "mount":
            start = next(i for i, s in enumerate(rest) if s.startswith("Options, "))
            first = next(i for i in range(start, len(rest)) if rest[i].startswith("  "))
            end = rest.index("", first)
            found["OPTIONS"] = render(rest[first:end])
            found["KEYS"] = render(rest[end:])
            rest = rest[:start]
        found["VERBS"] += [".SS mastfs " + name, escape(meaning[0].upper() + meaning[1:] + ".")]
        found["VERBS"] += [".PP", *render(rest)] if rest else []
    found["SYNOPSIS"] = synopsis(usages)
    return found


def main(template, mastfs, output, sysconfdir):
    text = open(template, encoding="utf-8").read()
    text = text.replace("@VERSION@", ask(mastfs, "version").split()[1])
    text = text.replace("@SYSCONFDIR@", sysconfdir)
    for name, lines in parts(mastfs).items():
        assert "@%s@\n" % name in text, name
        text = text.replace("@%s@\n" % name, "\n".join(lines) + "\n")
    with open(output, "w", encoding="utf-8") as f:
        f.write(text)


main(*sys.argv[1:])
