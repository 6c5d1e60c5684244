#!/usr/bin/env python3
"""The comparison on tiny counts, and whether what it writes is what it promises. No figure is looked at.

    check.py BUILD
"""

import copy
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import results
from rounds import Figures, Rounds
from works import Row, Task, at_most
import peers
import run


def expect(condition, sentence):
    if not condition:
        sys.exit(f"bench/side_by_side/check.py: {sentence}")


def broken_results_are_found(entries):
    expect(results.problems([]), "an empty array passes")
    expect(results.problems({}), "an object passes")
    for name, value in (("ours", "1"), ("ours", float("nan")), ("ratio", 7.5), ("met", "yes"), ("unit", ""),
                        ("goal", 3), ("met", True)):
        wrong = copy.deepcopy(entries)
        one = wrong[0]
        if name == "met" and value is True:
            one.update(goal=None)
        one[name] = value
        expect(results.problems(wrong), f"{name} = {value!r} passes")
    wrong = copy.deepcopy(entries)
    del wrong[0]["unit"]
    expect(results.problems(wrong), "an entry without a unit passes")


def verdicts_need_steady_figures():
    ours, theirs = Task(peers.OURS, "pair"), Task(peers.GLIBC, "pair")
    row = Row("P0", "a work", ours, theirs, "glibc", "ns", at_most(1.0))

    def met(values, other, probes=()):
        return results.of_row(row, {ours: Figures(values, list(probes)), theirs: Figures(other)})["met"]

    expect(met([1, 1.1, 1.2], [2, 2, 2.1]) is True, "a goal that is met is not said to be")
    expect(met([3, 3.1, 3.2], [2, 2, 2.1]) is False, "a goal that is missed is not said to be")
    expect(met([1, 1.1, 1.9], [2, 2, 2.1]) is None, "a verdict on repetitions that spread")
    expect(met([1, 1.1, 1.2], [2, 2, 3.1]) is None, "a verdict on a peer's repetitions that spread")
    expect(met([1, 1.1, 1.2], [2, 2, 2.1], [60, 300]) is None, "a verdict beside a probe that spreads")
    expect(met([1], [2]) is None, "a verdict on one round")
    expect(met([], [2, 2]) is None, "a verdict on nothing")


def a_peer_that_is_missing_is_said(build):
    installed = peers.Installed.read(build, {"roudi": "is not there"})
    task = Task(peers.ICEORYX, "pair")
    rounds = Rounds(installed, {}, 0.001, lambda text: None)
    rounds.run([task], set(), 1, 10)
    expect(rounds.figures[task].why, "a peer that is missing has no word")
    expect(not rounds.figures[task].values, "a peer that is missing has figures")


def main():
    build = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="zeropool-bench.") as folder:
        program = Path(__file__).parent / "run.py"
        done = subprocess.run([sys.executable, program, "--build", build, "--out", folder, "--mode", "smoke", "--without", "roudi,hugepages"],
                              capture_output=True, text=True)
        expect(done.returncode == 0, f"the smoke run failed:\n{done.stdout}{done.stderr}")
        entries = json.loads((Path(folder) / "results.json").read_text())
        found = results.problems(entries)
        expect(not found, "; ".join(found))
        failed = [one["note"] for one in entries if "failed" in one["note"]]
        expect(not failed, f"repetitions failed: {failed}")
        expect(any(one["ours"] for one in entries if one["id"] == "P1"), "no figure of P1")
        expect(any(one["ours"] for one in entries if one["id"] == "attach"), "no figure of an attach")
        xml.etree.ElementTree.parse(Path(folder) / "results.svg")
        machine = json.loads((Path(folder) / "machine.json").read_text())
        for name in ("cpu", "kernel", "governor", "load", "commit", "caches"):
            expect(name in machine, f"machine.json says nothing of {name}")
        for one in entries:
            expect(one["work"] in done.stdout, f"the table leaves out {one['work']}")
    expect(run.left_out("") == set() and run.left_out("roudi,hugepages") == {"roudi", "hugepages"}, "--without is misread")
    broken_results_are_found(entries)
    verdicts_need_steady_figures()
    a_peer_that_is_missing_is_said(build)


if __name__ == "__main__":
    main()
