#!/usr/bin/env python3
"""The table of the goals in docs/performance.md, from what a run of scripts/bench has written.

    goals.py [RESULTS.JSON]

Nothing is written while a goal is missed and why_not.toml does not say why, or says it of one that is met.
"""

import json
import sys
import tomllib
from pathlib import Path

import machine
import results
from table import number

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/performance.md"
BEGIN = "<!-- scripts/bench --table writes what is between this line and the next one like it. -->"
END = "<!-- scripts/bench --table wrote what is above. -->"
GOALS = {
    "P1": "get and put that hit", "P2": "64 gets, then 64 puts", "P3": "hits in two processes", "P4": "hand-off",
    "P5": "magazines claimed and released", "P6": "pipelines that touch all bytes", "P7": "what metrics cost", "P8": "growth",
    "P9": "order to grant", "P10": "idle daemon, scrapes", "P11": "reclaim of the killed", "P12": "metadata",
    "P13": "16 cores", "P16": "async hits",
}
# What no pool is measured against, but a bound or ourselves.
NO_PEERS = ("by hand, ", "the goal alone", "no goal", "one process", "one thread", "one pipeline", "counters compiled out",
            "fallocate alone", "two eventfd wakes", "before the kill", "malloc and pipes")
CODE = """<!-- figures of: bench/{works,peers,attach,metrics_cost,scrape}/* tests/{waiting_cost,crash_cost}/*
     client/include/zeropool/{pool,buffer}.hpp client/src/{get,put,batch,adopt,cache_ops,order,async_get,attachment}.*
     lib/include/zeropool/lib/{hot_path,thread_cache,magazine,slot_mark,slot_transfer,batch_ring,hand_off}.hpp
     lib/include/zeropool/lib/{order_cell,reclaim,thread_record}.hpp lib/include/zeropool/lib/hint_*.hpp
     daemon/{grow,commit,commit_thread,publish,demand_window,event_loop,client_reclaim,death,metadata}.*
     daemon/{order_desk,order_queue,order_intake,order_claim,exporter,statistics,statistics_words,metric_sheet}.* -->"""


def works(entries):
    """{(id, work): its entries}, in their order."""
    found = {}
    for one in entries:
        found.setdefault((one["id"], one["work"]), []).append(one)
    return found


def best_peer(rows):
    """The entry whose peer is fastest, or uses least; None where there is none."""
    peers = [one for one in rows if one["peer"] and not one["peer_name"].startswith(NO_PEERS)]
    more = rows[0]["unit"].endswith("/s")
    return (max if more else min)(peers, key=lambda one: one["peer"], default=None)


def goal_text(one):
    if not one["goal"]:
        return "none"
    sign, bound, unit = one["goal"].split(" ", 2)
    sign = {"<=": "≤", ">=": "≥"}[sign]
    return f"{sign} {bound} × {one['peer_name']}" if unit == "x" else f"{sign} {bound} {unit}"


def met_text(one):
    ratio = f", {number(one['ratio'])} ×" if one["goal"] and one["goal"].endswith(" x") and one["ratio"] else ""
    return {True: "yes", False: "**no**", None: "open"}[one["met"]] + ratio if one["goal"] else ""


def row(one, rows, why_not):
    best = best_peer(rows)
    ratio = one["ours"] / best["peer"] if best and one["ours"] is not None else None
    if one["met"] is False:
        note = why_not[one["id"]][one["work"]]
    else:
        note = one["note"] if one["goal"] or one["ours"] is None else ""  # else it is on one of the peers
    cells = [one["id"], one["work"], goal_text(one), f"{number(one['ours'])} {one['unit']}" if one["ours"] is not None else "–",
             f"{number(best['peer'])} ({best['peer_name']})" if best else "–", number(ratio) if ratio else "–", met_text(one), note]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(entries, why_not):
    yield "| | work | goal | ours | best peer | ours to best | met | why not |"
    yield "|---|---|---|--:|--:|--:|---|---|"
    for rows in works(entries).values():
        for one in [one for one in rows if one["goal"]] or rows[:1]:
            yield row(one, rows, why_not)


def summary(entries):
    yield "| | what | goals met | missed | without a verdict |"
    yield "|---|---|--:|--:|--:|"
    for id, what in GOALS.items():
        verdicts = [one["met"] for one in entries if one["id"] == id and one["goal"]]
        counts = [verdicts.count(verdict) for verdict in (True, False, None)] if verdicts else ["not measured", "", ""]
        yield f"| {id} | {what} | " + " | ".join(map(str, counts)) + " |"


def complaints(entries, why_not):
    """Goals that are missed and nobody says why; reasons for what is not missed."""
    missed = dict.fromkeys((one["id"], one["work"]) for one in entries if one["met"] is False)
    for id, work in missed:
        if not why_not.get(id, {}).get(work, "").strip():
            yield f"missed, and why_not.toml does not say why: [{id}] {json.dumps(work)}"
    open_or_unknown = {(one["id"], one["work"]) for one in entries if one["met"] is None}
    known = works(entries)
    for id, texts in why_not.items():
        for work in texts:
            if (id, work) in known and (id, work) not in missed and (id, work) not in open_or_unknown:
                yield f"met, and why_not.toml says why it is not: [{id}] {json.dumps(work)}"
            elif (id, work) not in known:
                yield f"why_not.toml speaks of what was not measured: [{id}] {json.dumps(work)}"


def text(entries, about, why_not):
    machine_words = machine.sentence(about).partition("; ")[2]
    rounds = f" Medians of {about['rounds']} rounds." if about.get("rounds") else ""
    return "\n".join([f"{about['stamp']} {machine_words}.{rounds}", CODE, "", *summary(entries), "",
                      *table(entries, why_not)])


def replaced(page, words):
    """The page with these words between the two lines."""
    before, begin, rest = page.partition(BEGIN + "\n")
    _, end, after = rest.partition(END + "\n")
    if not begin or not end:
        raise ValueError(f"{PAGE} has not the two lines between which the table stands")
    return f"{before}{BEGIN}\n{words}\n{END}\n{after}"


def main():
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    source = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build/bench/results.json"
    entries = json.loads(source.read_text())
    about = json.loads((source.parent / "machine.json").read_text())
    why_not = tomllib.loads((Path(__file__).parent / "why_not.toml").read_text(encoding="utf-8"))
    found = results.problems(entries) + list(complaints(entries, why_not))
    if not about.get("stamp"):
        found.append("machine.json has no stamp: it was not scripts/bench that wrote it")
    if found:
        raise ValueError("\n".join(found))
    page = ROOT / PAGE
    page.write_text(replaced(page.read_text(encoding="utf-8"), text(entries, about, why_not)), encoding="utf-8")
    print(f"{PAGE}: {len(works(entries))} works")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"scripts/bench --table: {error}")
