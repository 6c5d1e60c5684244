"""build/bench/results.json: an array of objects, and what must hold of it."""

import json
import math

from rounds import SPREAD, spread

# The nine that programs may rely on, then what explains them.
FIELDS = {
    "id": str,
    "work": str,
    "ours": (int, float, type(None)),
    "unit": str,
    "peer": (int, float, type(None)),
    "peer_name": str,
    "ratio": (int, float, type(None)),
    "goal": (str, type(None)),
    "met": (bool, type(None)),
    "ours_range": (list, type(None)),
    "peer_range": (list, type(None)),
    "note": str,
}


def entry(id, work, ours, unit, peer, peer_name, goal, met, ours_range=None, peer_range=None, note=""):
    ratio = ours / peer if ours is not None and peer else None
    return {"id": id, "work": work, "ours": ours, "unit": unit, "peer": peer, "peer_name": peer_name, "ratio": ratio,
            "goal": goal, "met": met, "ours_range": ours_range, "peer_range": peer_range, "note": note}


def absent(id, work, unit, goal, why, peer_name="the goal alone"):
    """A goal that nothing was measured for, and why."""
    return entry(id, work, None, unit, None, peer_name, goal, None, note=why)


def of_row(row, figures):
    """A row's entry. Without a verdict where the repetitions or the probe spread."""
    ours = figures[row.ours]
    theirs = figures[row.peer]
    needed = [(ours, "ours")] if row.goal and row.goal.kind == "value" else [(ours, "ours"), (theirs, "peer")]
    note = []
    for one, name in ((ours, "ours"), (theirs, "peer")):
        if one.median is None:
            note.append(f"{name}: {one.why or 'not run'}")
    met = None
    if row.goal and all(one.median is not None for one, _ in needed):
        for one, name in needed:
            if len(one.values) < 2:
                note.append("one round only")
            elif spread(one.values) > SPREAD:
                note.append(f"{name} spreads by {spread(one.values):.0%}")
        probes = [probe for one, _ in needed for probe in one.probes]
        if spread(probes) > SPREAD:
            note.append(f"the probe spreads: {min(probes):.0f} to {max(probes):.0f} ns")
        if not any(word in text for text in note for word in ("spread", "one round")):
            ratio = ours.median / theirs.median if theirs.median else None
            met = row.goal.met(ours.median, ratio)
    return entry(row.id, row.work, ours.median, row.unit, theirs.median, row.peer_name,
                 row.goal.text(row.unit) if row.goal else None, met, ours.range, theirs.range,
                 "; ".join(dict.fromkeys(note)))


def problems(entries):
    """Sentences on what is wrong with the array."""
    if not isinstance(entries, list) or not entries:
        return ["no array of entries, or an empty one"]
    found = []
    for at, one in enumerate(entries):
        if not isinstance(one, dict) or set(one) != set(FIELDS):
            found.append(f"entry {at}: not the fields {', '.join(FIELDS)}")
            continue
        for name, kind in FIELDS.items():
            value = one[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and name != "met"):
                found.append(f"entry {at}: {name} is {value!r}")
            elif isinstance(value, float) and not math.isfinite(value):
                found.append(f"entry {at}: {name} is not finite")
        if found and found[-1].startswith(f"entry {at}:"):
            continue
        if not one["id"] or not one["work"] or not one["unit"] or not one["peer_name"]:
            found.append(f"entry {at}: an empty name")
        if one["met"] is not None and (one["goal"] is None or one["ours"] is None):
            found.append(f"entry {at}: a verdict without goal or figure")
        if one["ours"] is None and not one["note"]:
            found.append(f"entry {at}: no figure, and no word why")
        expected = one["ours"] / one["peer"] if one["ours"] is not None and one["peer"] else None
        if (expected is None) != (one["ratio"] is None) or (
                expected is not None and not math.isclose(expected, one["ratio"], rel_tol=1e-6)):
            found.append(f"entry {at}: the ratio is not ours to the peer's")
    return found


def write(path, entries):
    found = problems(entries)
    if found:
        raise ValueError("; ".join(found))
    path.write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n")
