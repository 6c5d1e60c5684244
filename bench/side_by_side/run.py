#!/usr/bin/env python3
"""Ours and the peers on the same works, in interleaved rounds of fresh processes; a table, results.json, a plot.

scripts/bench builds what it needs and calls it.
"""

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import machine
import plot
import programs
import results
import services
import table
from peers import Installed
from rounds import Rounds
from works import KIB, MIB, Rows

VIRTUAL_GIB = 64
HUGE_MIB = 1600  # what DPDK's pools of mixed sizes take; with 704 those of 1 MiB had no room

# Repetitions, seconds of each, seconds for all rounds; the smoke test's figures mean nothing.
# A full run has three minutes of other works beside them, and is to end within fifteen.
MODES = {"full": (7, 0.06, 600), "quick": (3, 0.03, 80), "smoke": (1, 0.002, 30)}
# A work alone, of two threads, of two processes, a pipeline; nothing that a peer's service is needed for.
SMOKE = {("P1", "glibc"), ("P2", "glibc"), ("other", "glibc"), ("P3", "one process"), ("P6", "by hand, FIFO over 4 MiB")}


def say(text):
    print(text, file=sys.stderr, flush=True)


def pipeline_pools(mode):
    if mode == "smoke":
        return [(64 * KIB, 8), (MIB, 8)]
    if mode == "quick":
        return [(64 * KIB, 8), (64 * KIB, 256), (MIB, 8), (MIB, 256)]
    free_mib = services.meminfo("MemAvailable") // 1024
    return [(size, mib) for size in (64 * KIB, MIB) for mib in (8, 64, 512, 4096) if 3 * mib <= free_mib]


def wanted(row, only):
    return not only or row.id in only


def left_out(text):
    return set(filter(None, text.split(",")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="scripts/bench")
    parser.add_argument("--build", type=Path, required=True, help="the build folder, as build/release")
    parser.add_argument("--out", type=Path, required=True, help="where results.json and the plot go")
    parser.add_argument("--mode", choices=MODES, default="full")
    parser.add_argument("--only", default="", help="rows of these ids only, as P1,P4")
    parser.add_argument("--stamp", default="", help="what stands before the figures in the documentation")
    parser.add_argument("--attach", action="store_true", help="attach time and memory only")
    parser.add_argument("--without", default="", help="start no RouDi, reserve no hugepages: roudi,hugepages")
    options = parser.parse_args()

    root = Path(__file__).resolve().parents[2]
    only = set(filter(None, options.only.split(",")))
    repetitions, seconds, time_limit = MODES[options.mode]
    began = time.monotonic()
    about = {**machine.describe(root), "stamp": options.stamp}
    options.out.mkdir(parents=True, exist_ok=True)
    cpus = machine.usable_cpus()
    ways = machine.ways(cpus)
    pools = pipeline_pools(options.mode)

    with ExitStack() as stack:
        left_away = {"roudi", "hugepages"} if options.attach else left_out(options.without)
        missing = dict.fromkeys(left_away, "left out by --without")
        if "roudi" not in missing and (why := stack.enter_context(services.roudi())):
            missing["roudi"] = why
        stack.enter_context(services.dpdk_folder())
        if "hugepages" not in missing and not stack.enter_context(services.hugepages(HUGE_MIB)):
            missing["hugepages"] = f"{HUGE_MIB} MiB of hugepages cannot be had"
        installed = Installed.read(options.build, missing)
        binaries = installed.binaries
        environment, url, daemon = stack.enter_context(
            services.zeropoold(binaries, services.comparison_pools(pools, VIRTUAL_GIB)))

        entries = []
        if not options.attach:
            rows = Rows(installed, cpus, ways, pools, options.mode != "full")
            chosen = [row for row in rows.rows if wanted(row, only)]
            if options.mode == "smoke":
                chosen = [row for row in chosen if (row.id, row.peer_name) in SMOKE and row.ours.size == 64 * KIB]
            tasks = dict.fromkeys(task for row in chosen for task in (row.ours, row.peer))
            rounds = Rounds(installed, environment, seconds, say)
            say(f"{len(tasks)} tasks, up to {repetitions} rounds")
            judged = {task for row in chosen if row.goal for task in (row.ours, row.peer)}
            rounds.run(tasks, judged, repetitions, time_limit)
            entries += [results.of_row(row, rounds.figures) for row in chosen]
            entries += [one for one in rows.absent if not only or one["id"] in only]
            about["rounds"] = rounds.done
            if options.mode != "smoke":
                entries += extra_entries(options, only, binaries, environment, url, daemon)
        if options.attach or not only or "attach" in only:
            clients, threads = (3, 8) if options.mode == "smoke" else (32, 64)
            entries += timed("attach", programs.attach(binaries, environment, daemon, clients, threads, VIRTUAL_GIB))

    entries.sort(key=lambda one: (not one["id"].startswith("P"), len(one["id"]) if one["id"][0] == "P" else 0,
                                  one["id"] if one["id"][0] == "P" else ""))
    about["seconds"] = round(time.monotonic() - began)
    results.write(options.out / "results.json", entries)
    (options.out / "machine.json").write_text(json.dumps(about, indent=1) + "\n")
    (options.out / "results.svg").write_text(plot.svg(entries, machine.sentence(about)))
    print(machine.sentence(about))
    print("Medians, ranges; no verdict where repetitions or the probe beside them spread by more than 30 %.\n")
    for line in table.lines(entries):
        print(line)
    print()
    for line in table.summary(entries):
        print(line)
    for peer, why in dict.fromkeys((one["peer_name"], one["note"]) for one in entries
                                   if one["note"].startswith("peer: ") and "installed" in one["note"]):
        print(f"left out: {peer}: {why}")
    if "rounds" in about:
        print(f"rounds: {about['rounds']}")
    print(f"\n{options.out}/results.json, results.svg, machine.json; {about['seconds']} s")
    if options.stamp:
        print(f"\n{options.stamp}")


def timed(name, entries):
    begun = time.monotonic()
    entries = list(entries)
    say(f"{name}: {time.monotonic() - begun:.0f} s")
    return entries


def extra_entries(options, only, binaries, environment, url, daemon):
    """What other programs measure; the slow ones in full runs only."""
    quick = options.mode == "quick"
    found = []
    if not only or "P7" in only:
        found += timed("P7", programs.metrics_cost(binaries, environment, 3 if quick else 15))
    if not only or "P12" in only:
        found += timed("P12", programs.metadata(binaries, environment, url, services.METADATA_MIB))
    if not only or "demo" in only:
        found += timed("demo", programs.demo(binaries, environment, 1 if quick else 3, (64 if quick else 512) * MIB))
    if quick:
        return found
    if not only or only & {"P8", "P9", "P11", "P16"}:
        found += timed("P8, P9, P11, P16", programs.printed(binaries, only, 3))
    if not only or "P10" in only:
        with services.zeropoold(binaries, services.SCRAPE_POOLS, services.SCRAPE_LINES) as (theirs, address, pid):
            found += timed("P10", programs.scrape(binaries, theirs, pid, address))
    return found


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"scripts/bench: {error}")
