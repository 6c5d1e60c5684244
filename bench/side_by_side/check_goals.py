#!/usr/bin/env python3
"""What the bench's programs print is read as it was printed, and the table of the goals says what was measured. Nothing runs.

recorded/ has what the programs printed once, byte for byte; programs of those names print it again.
"""

import contextlib
import tempfile
import tomllib
from pathlib import Path

import goals
import machine
import programs
import results
from check import expect
from works import Rows, at_least, at_most
from peers import Installed

RECORDED = Path(__file__).parent / "recorded"
PROGRAMS = {
    "zeropool_waiting_bench": "waiting_$1", "zeropool_crash_bench": "crash_$1", "zeropool_scrape": "scrape",
    "zeropool_metrics_cost_counted": "metrics_cost_counted", "zeropool_metrics_cost_uncounted": "metrics_cost_uncounted",
    "zeropool_attach": "attach", "examples/pipeline": "pipeline_$2", "zeropool_work_zeropool": "metrics",
}
# (id, work, ours, peer, met)
EXPECTED = (
    ("P7", "get+put hit, 4 KiB, counted", 6.39, 5.769, False), ("P7", "get+put hit, 64 KiB, counted", 6.347, 5.706, False),
    ("P8", "new memory, as fallocate alone brings it", 3721, 3946, True),
    ("P8", "p99.9 of get while demand ramps at half of that", 10751, None, False),
    ("P9", "order to grant, both asleep", 90.5, 136.2, True),
    ("P10", "scrape with 64 threads", 0.30, None, True), ("P10", "scrape with 4096 threads", 0.56, None, True),
    ("P10", "wake-ups of an idle daemon in 10 s", 0, None, True),
    ("P10", "idle daemon, resident without shared pages", 10952, None, True),
    ("P11", "reclaim of 100,000 slots of a killed client", 0.44, None, True),
    ("P11", "p99.9 of others' get+put meanwhile", 61, 61, True),
    ("P12", "metadata of what is committed, 1024 MiB in slots of 4 KiB", 2.9759, None, False),
    ("P12", "metadata of what is committed, 1024 MiB in slots of 64 KiB", 0.0883, None, True),
    ("P16", "an async hit beyond a sync one", 0.72, None, True),
    ("attach", "a client maps a pool of 64 GiB and is ready", 3.6726, None, None),
    ("attach", "memory of an idle thread that has used a pool", 15.0, None, None),
    ("demo", "the demo's pipeline on 512 MiB of files", 1.3326, 25.9968, None),
)


def read_all(folder):
    """The entries of all that programs print."""
    url = (RECORDED / "metrics").as_uri()
    return [*programs.metrics_cost(folder, {}, 3), *programs.printed(folder, (), 3),
            *programs.scrape(folder, {}, 1, "http://127.0.0.1:1/metrics"), *programs.metadata(folder, {}, url, 1024),
            *programs.attach(folder, {}, 1, 3, 8, 64), *programs.demo(folder, {}, 1, 512 << 20)]


def fake(folder, name, script):
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def what_is_printed_is_read(folder):
    for name, recorded in PROGRAMS.items():
        fake(folder, name, f'exec cat "{RECORDED}/{recorded}"')
    entries = read_all(folder)
    expect(not results.problems(entries), f"{results.problems(entries)}")
    for id, work, ours, peer, met in EXPECTED:
        one = next((one for one in entries if (one["id"], one["work"]) == (id, work)), None)
        expect(one is not None, f"{id} {work} is not read")
        close = all((a is None) == (b is None) and (a is None or abs(a - b) <= 1e-3 * abs(b) + 1e-9)
                    for a, b in ((one["ours"], ours), (one["peer"], peer)))
        expect(close and one["met"] is met, f"{id} {work}: {one}")
    expect({one["id"] for one in programs.printed(folder, {"P9"})} == {"P9"}, "more is run than was asked for")
    return entries


def what_is_not_printed_is_said(folder):
    for name in PROGRAMS:
        for script, words in (("echo nothing of it", "it is not printed"), ("echo no memory >&2; exit 1", "failed (1): no memory")):
            if words == "it is not printed" and name not in ("zeropool_waiting_bench", "zeropool_crash_bench", "zeropool_scrape"):
                continue
            fake(folder, name, script)
            entries = read_all(folder)
            expect(not results.problems(entries), f"{results.problems(entries)}")
            expect(any(words in one["note"] and one["ours"] is None for one in entries), f"{name}: {script}: nobody says so")
            fake(folder, name, f'exec cat "{RECORDED}/{PROGRAMS[name]}"')
    (folder / "zeropool_scrape").unlink()
    expect(any(one["note"] == "not built" for one in read_all(folder)), "a program that is not built is not said")


def verdicts_need_figures_on_one_side():
    def met(values, peers=(), goal=at_most(1.0)):
        return programs.judged("P0", "a work", "ns", goal, values, peers)["met"]

    expect(met([1, 1, 1.9], [2, 2, 2]) is True, "all on the good side is no verdict")
    expect(met([3, 3, 5], [2, 2, 2]) is False, "all on the bad side is no verdict")
    expect(met([1, 1, 3], [2, 2, 2]) is None, "a verdict on both sides of the goal")
    expect(met([0], goal=at_most(0, "value")) is True, "nothing is not at most nothing")
    expect(met([0, 0, 2], goal=at_most(0, "value")) is None, "two is said to be nothing")
    expect(met([5, 5], [5, 5], at_least(0.9)) is True, "at least is not understood")


def goals_that_cannot_be_tried_are_entries():
    rows = Rows(Installed(Path("none"), {}), [0], {}, [(65536, 8), (1 << 20, 8)], False)
    missing = {one["id"] for one in rows.absent}
    expect({"P3", "P4", "P5", "P6", "P13"} <= missing, f"on one CPU only {missing} are said to be missing")
    expect(not results.problems(rows.absent), f"{results.problems(rows.absent)}")
    rows = Rows(Installed(Path("none"), {}), [0, 1], {"near": [0, 1]}, [(65536, 8), (1 << 20, 8)], False)
    expect({one["id"] for one in rows.absent} == {"P6", "P13"}, "two CPUs lack more than the far pipelines and the 16 cores")


def the_table_says_what_was_measured(entries):
    one = results.entry("P1", "a | work", 3.0, "ns", 4.0, "DPDK, cached", "<= 0.8 x", True)
    other = {**one, "peer": 2.0, "peer_name": "tcmalloc", "ratio": 1.5, "goal": None, "met": None}
    hand = results.entry("P6", "pipeline", 3.0, "GB/s", 5.0, "by hand, FIFO over 4 MiB", ">= 0.9 x", False)
    glibc = results.entry("P6", "pipeline", 3.0, "GB/s", 0.5, "glibc", ">= 5 x", None, note="ours spreads by 40%")
    why_not = {"P6": {"pipeline": "the reader's cache"}}
    lines = list(goals.table([one, other, hand, glibc], why_not))[2:]
    expect(lines == [
        "| P1 | a \\| work | ≤ 0.8 × DPDK, cached | 3.00 ns | 2.00 (tcmalloc) | 1.50 | yes, 0.75 × |  |",
        "| P6 | pipeline | ≥ 0.9 × by hand, FIFO over 4 MiB | 3.00 GB/s | 0.50 (glibc) | 6.00 | **no**, 0.60 × | the reader's cache |",
        "| P6 | pipeline | ≥ 5 × glibc | 3.00 GB/s | 0.50 (glibc) | 6.00 | open, 6.00 × | ours spreads by 40% |"], "\n".join(lines))
    rows = list(goals.summary([one, other, hand, glibc]))[2:]
    expect(len(rows) == len(goals.GOALS) and rows[0] == "| P1 | get and put that hit | 1 | 0 | 0 |", f"{rows}")
    expect(rows[5].endswith("| 0 | 1 | 1 |") and "not measured" in rows[12], f"{rows}")
    expect(list(goals.complaints([one, hand], why_not)) == [], "a reason that is there is not found")
    for reasons, words in (({}, "does not say why"), ({"P6": {"pipeline": " "}}, "does not say why"),
                           ({**why_not, "P1": {"a | work": "x"}}, "met, and"), ({**why_not, "P1": {"b": "x"}}, "not measured")):
        found = list(goals.complaints([one, hand], reasons))
        expect(len(found) == 1 and words in found[0], f"{reasons}: {found}")
    missed = {}
    for entry in entries:
        if entry["met"] is False:
            missed.setdefault(entry["id"], {})[entry["work"]] = "why"
    about = {**machine.describe(goals.ROOT), "stamp": "Printed by `x`: commit 0, y, 2026-01-01.", "rounds": 7}
    words = goals.text(entries, about, missed)
    expect(words.startswith(about["stamp"]) and goals.CODE in words, "the table has no stamp")
    page = f"a\n{goals.BEGIN}\nold\n{goals.END}\nb\n"
    expect(goals.replaced(page, "new") == page.replace("old", "new"), "more than the table is written, or less")
    with contextlib.suppress(ValueError):
        goals.replaced("a page", "new")
        expect(False, "a page without a place for the table is written")
    expect(goals.BEGIN in (goals.ROOT / goals.PAGE).read_text(encoding="utf-8"), f"{goals.PAGE} has no place for the table")
    tomllib.loads((Path(goals.__file__).parent / "why_not.toml").read_text(encoding="utf-8"))


def main():
    with tempfile.TemporaryDirectory(prefix="zeropool-bench.") as folder:
        entries = what_is_printed_is_read(Path(folder))
        what_is_not_printed_is_said(Path(folder))
    verdicts_need_figures_on_one_side()
    goals_that_cannot_be_tried_are_entries()
    the_table_says_what_was_measured(entries)


if __name__ == "__main__":
    main()
