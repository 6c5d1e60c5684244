"""The text of a page as `figures` reads it: blocks, stamps, numbers with their units. Nothing here asks git."""

import re
from dataclasses import dataclass, field

UNITS = r"ns|us|µs|ms|[kKMGT]i?B/s|%"
NUMBER = re.compile(rf"(\d[\d,]*(?:\.\d+)?)\s?({UNITS})(?![\w/])")
# In running text: a time, a rate, a share; seconds only with a fraction, as settings have none.
MEASURED = re.compile(rf"\d[\d,.]*\s?(?:{UNITS})(?![\w/])|\d\.\d+ s\b")
# In tables and what a program printed: any fraction, too.
PRINTED = re.compile(rf"{MEASURED.pattern}|\b\d+\.\d+\b")
STAMP = re.compile(r"Printed by `([^`]+)`: commit (\S+?), (.+?), (\d{4}-\d\d-\d\d)\b")
COMMIT = re.compile(r"\bcommit [0-9a-f]{7,40}\b")
CHECKED = re.compile(r"\bchecked ([0-9a-f]{7,40}):")
# Literals stay: // in a string is no comment.
TOKENS = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|//[^\n]*|/\*.*?\*/|\s+|.', re.S)


@dataclass
class Block:
    line: int
    kind: str  # heading, comment, prose, table, code; source: in a named language, so no program's output
    text: str


@dataclass
class Stamp:
    line: int
    command: str
    commit: str
    record: bool = False
    globs: list = field(default_factory=list)
    checked: list = field(default_factory=list)  # (commit, why)


def expand(glob):
    """a{b,c} as ab and ac, which neither git nor fnmatch know."""
    found = re.search(r"\{([^{}]*)\}", glob)
    if not found:
        return [glob]
    return [one for word in found[1].split(",") for one in expand(glob[:found.start()] + word + glob[found.end():])]


def blocks(text):
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        begin, line = at, lines[at]
        at += 1

        def until(condition):
            nonlocal at
            while at < len(lines) and not condition(lines[at]):
                at += 1

        if not line.strip():
            continue
        if line.lstrip().startswith("```"):
            kind = "code" if line.strip() == "```" else "source"
            until(lambda one: one.strip() == "```")
            at += 1
        elif line.startswith("#"):
            kind = "heading"
        elif line.startswith("<!--"):
            kind = "comment"
            if "-->" not in line:
                until(lambda one: "-->" in one)
                at += 1
        elif line.startswith("|"):
            kind = "table"
            until(lambda one: not one.startswith("|"))
        elif line.startswith("    "):
            kind = "code"
            until(lambda one: one.strip() and not one.startswith("    "))
        else:
            kind = "prose"
            until(lambda one: not one.strip() or re.match(r"#|<!--|\||```|[-*] |\d+\. ", one))
        yield Block(begin + 1, kind, "\n".join(lines[begin:at]).rstrip())


def read_comment(text):
    """("figures of", the rest) of such a comment; ("", "") of any other."""
    found = re.fullmatch(r"<!--\s*(figures of|figures in|not measured|record):\s*(.*?)\s*-->", text, re.S)
    return (found[1], found[2]) if found else ("", "")


def read_stamp(block, comment):
    """The stamp that the block begins with, or None; and what is wrong with it."""
    found = STAMP.match(" ".join(block.text.split()))
    if not found:
        return None, []
    stamp = Stamp(block.line, found[1], found[2])
    wrong = [] if re.fullmatch(r"[0-9a-f]{7,40}", stamp.commit) else [f"measured at no commit: {stamp.commit}"]
    word, rest = read_comment(comment.text) if comment and comment.kind == "comment" else ("", "")
    stamp.record = word == "record"
    if word == "figures of":
        first, *rest = CHECKED.split(rest)
        stamp.globs = [one for glob in first.split() for one in expand(glob)]
        stamp.checked = [(commit, " ".join(why.split())) for commit, why in zip(rest[::2], rest[1::2])]
        wrong += [f"checked {commit}, and no word why" for commit, why in stamp.checked if not why]
    if not stamp.globs and not (stamp.record and rest):
        wrong.append("no comment behind it names the code that it speaks of")
    return stamp, wrong


def without_comments(source):
    """What a compiler sees of C or C++, near enough; spaces count as one, or none at a line's ends."""
    kept = []
    for token in TOKENS.finditer(source):
        text = token[0]
        kept.append(" " if text.isspace() or text.startswith(("//", "/*")) else text)
    return " ".join("".join(kept).split())


def numbers(text):
    """{(value, unit)} of all numbers with a unit."""
    return {(float(value.replace(",", "")), unit.replace("µ", "u")) for value, unit in NUMBER.findall(text)}


def is_rounded(text, unit, known):
    """Whether a known number of that unit would be written as `text` with so many digits."""
    value = text.replace(",", "")
    half = 0.5 * 10.0 ** -len(value.partition(".")[2])
    unit = unit.replace("µ", "u")
    return any(one == unit and abs(other - float(value)) <= half * 1.000001 for other, one in known)
