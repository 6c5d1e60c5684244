"""What other programs of the bench print, as entries: P7 to P12, P16, attach, the demo's pipeline."""

import json
import os
import re
import statistics
import subprocess
import urllib.request
from dataclasses import dataclass

from results import absent, entry
from rounds import SPREAD, spread
from works import at_least, at_most

SECONDS = 540


def run(words, environment):
    """What it printed; None and why not."""
    if not os.path.exists(words[0]):
        return None, "not built"
    try:
        done = subprocess.run([str(word) for word in words], env={**os.environ, **environment}, capture_output=True,
                              text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"not done after {SECONDS} s"
    if done.returncode != 0:
        return None, f"failed ({done.returncode}): {(done.stderr.strip().splitlines() or ['no word'])[-1]}"
    return done.stdout, ""


def judged(id, work, unit, goal, values, peers=(), peer_name="the goal alone"):
    """values, peers: one a repetition; the medians count. No verdict where they spread over both sides of the goal."""
    ours, peer = statistics.median(values), statistics.median(peers) if peers else None
    met, note = None, ""
    if goal:
        ratios = [value / other if other else None for value, other in zip(values, peers)] or [None] * len(values)
        met = goal.met(ours, ours / peer if peer else None)
        if max(spread(values), spread(peers)) > SPREAD:
            note = f"ours spreads by {spread(values):.0%}" + (f", {peer_name} by {spread(peers):.0%}" if peers else "")
            if len({goal.met(value, ratio) for value, ratio in zip(values, ratios)}) > 1:
                met = None
    return entry(id, work, ours, unit, peer, peer_name, goal.text(unit) if goal else None, met,
                 [min(values), max(values)], [min(peers), max(peers)] if peers else None, note)


@dataclass(frozen=True)
class Line:
    """What a program prints of a row: the group `ours` of the pattern, and maybe `peer`."""
    id: str
    work: str
    unit: str
    goal: object
    pattern: str
    peer_name: str = "the goal alone"


# (program, its word, lines)
PRINTED = (
    ("zeropool_waiting_bench", "growth", (
        Line("P8", "new memory, as fallocate alone brings it", "MiB/s", at_least(0.9),
             r"gets (?P<ours>[\d.]+) MiB/s of new memory, fallocate alone brings (?P<peer>[\d.]+)", "fallocate alone"),
        Line("P8", "p99.9 of get while demand ramps at half of that", "ns", at_most(5000, "value"),
             r"while demand.* p99\.9 (?P<ours>\d+)"))),
    ("zeropool_waiting_bench", "grant", (
        Line("P9", "order to grant, both asleep", "us", at_most(1.5),
             r"order to grant, both asleep: median (?P<ours>[\d.]+) us.*?two eventfd wakes: (?P<peer>[\d.]+) us",
             "two eventfd wakes"),)),
    ("zeropool_waiting_bench", "async", (
        Line("P16", "an async hit beyond a sync one", "ns", at_most(2, "value"),
             r"P16 .*: \+?(?P<ours>-?[\d.]+) ns \(goal"),)),
    ("zeropool_crash_bench", "reclaim", (
        Line("P11", "reclaim of 100,000 slots of a killed client", "ms", at_most(20, "value"),
             r"P11 .*: median (?P<ours>[\d.]+) ms"),
        # Unchanged: not by more than a step of the histogram, whose buckets are a sixteenth wide.
        Line("P11", "p99.9 of others' get+put meanwhile", "ns", at_most(1.1),
             r"others before: .* p99\.9 (?P<peer>\d+).*\n.*others during: .* p99\.9 (?P<ours>\d+)", "before the kill"))),
)


def read_line(line, outputs):
    """The entry of a line, of what the program printed, once a repetition."""
    found = [re.search(line.pattern, out) for out in outputs]
    if not found or not all(found):
        return absent(line.id, line.work, line.unit, line.goal.text(line.unit), "it is not printed", line.peer_name)
    return judged(line.id, line.work, line.unit, line.goal, [float(one["ours"]) for one in found],
                  [float(one["peer"]) for one in found if "peer" in one.groupdict()], line.peer_name)


def printed(binaries, ids=(), repetitions=1):
    """Rows of what programs print, of these ids if any are given. They start daemons of their own, and repeat inside, too."""
    environment = {name: str(binaries.resolve() / name.lower()) for name in ("ZEROPOOLD", "ZEROPOOLCTL")}
    for program, word, lines in PRINTED:
        lines = [line for line in lines if not ids or line.id in ids]
        outputs = []
        for _ in range(repetitions if lines else 0):
            out, why = run([binaries / program, word], environment)
            if out is None:
                yield from (absent(line.id, line.work, line.unit, line.goal.text(line.unit), why, line.peer_name)
                            for line in lines)
                break
            outputs.append(out)
        else:
            yield from (read_line(line, outputs) for line in lines)


def metrics_cost(binaries, environment, rounds):
    """P7, in turns."""
    values = {"counted": [], "uncounted": []}
    goal = at_most(1.05)
    works = [f"get+put hit, {size}, counted" for size in ("4 KiB", "64 KiB")]
    for _ in range(rounds):
        for kind, into in values.items():
            out, why = run([binaries / f"zeropool_metrics_cost_{kind}"], environment)
            if out is None:
                yield from (absent("P7", work, "ns", goal.text("ns"), why, "counters compiled out") for work in works)
                return
            into.append([float(word) for word in out.split()])
    for at, work in enumerate(works):
        yield judged("P7", work, "ns", goal, [value[at] for value in values["counted"]],
                     [value[at] for value in values["uncounted"]], "counters compiled out")


IDLE_SECONDS = 10
SCRAPE = (
    Line("P10", "scrape with 64 threads", "ms", at_most(1, "value"),
         r"scrape with 64 threads.*\n\s+text\s+\d+ bytes, median\s+(?P<ours>[\d.]+) ms"),
    Line("P10", "scrape with 4096 threads", "ms", at_most(10, "value"),
         r"scrape with 4096 threads.*\n\s+text\s+\d+ bytes, median\s+(?P<ours>[\d.]+) ms"),
    Line("P10", f"wake-ups of an idle daemon in {IDLE_SECONDS} s", "times", at_most(0, "value"),
         r"idle daemon, .* CPU, (?P<ours>\d+) time slices"),
    Line("P10", "idle daemon, resident without shared pages", "KiB", at_most(20480, "value"),
         r"idle daemon, .*, (?P<ours>\d+) of it without shared pages"),
)


def scrape(binaries, environment, pid, url):
    """P10; a daemon with room for 4,096 threads."""
    at = re.match(r"http://([^:]+):(\d+)/", url)
    out, why = run([binaries / "zeropool_scrape", pid, at[1], at[2], IDLE_SECONDS], environment)
    for line in SCRAPE:
        yield read_line(line, [out]) if out else absent(line.id, line.work, line.unit, line.goal.text(line.unit), why)


def metadata(binaries, environment, url, mib):
    """P12: pools of one class, all of whose memory is committed."""
    for pool, size, bound in (("small", 4096, 0.6), ("large", 65536, 0.1)):
        goal = at_most(bound, "value")
        work = f"metadata of what is committed, {mib} MiB in slots of {size // 1024} KiB"
        words = [binaries / "zeropool_work_zeropool", "pair", "--bytes", size, "--seconds", "0.001", "--variant",
                 pool + "+filled"]
        out, why = run(words, environment)
        if out is None:
            yield absent("P12", work, "%", goal.text("%"), why)
            continue
        text = urllib.request.urlopen(url, timeout=30).read().decode()

        def total(name):
            found = re.findall(rf'^{name}{{[^}}]*pool="{pool}"[^}}]*}} (\S+)', text, re.M)
            return sum(map(float, found)) if found else None

        records, data = total("zeropool_metadata_bytes"), total("zeropool_committed_bytes")
        if not records or not data:
            yield absent("P12", work, "%", goal.text("%"), "the metrics do not say")
        else:
            yield judged("P12", work, "%", goal, [100 * records / data])


def attach(binaries, environment, pid, clients, threads, virtual_gib):
    out, why = run([binaries / "zeropool_attach", "vast", pid, clients, threads], environment)
    work = f"a client maps a pool of {virtual_gib} GiB and is ready"
    goal = at_most(2, "value")
    if out is None:
        yield absent("attach", work, "ms", goal.text("ms"), why)
        return
    figures = json.loads(out)
    yield judged("attach", work, "ms", goal, [us / 1000 for us in figures["ready_us"]])
    for work, name in (("memory of an idle client, its own", "client_kib"),
                       ("memory of an idle client, zeropoold's", "daemon_kib"),
                       ("memory of an idle thread that has used a pool", "thread_kib")):
        yield judged("attach", work, "KiB", None, [figures[name]], peer_name="no goal")


def demo(binaries, environment, rounds, max_bytes):
    """The demo's pipeline over the pool, and over malloc and pipes: SHA-256 of real files."""
    values = {"pool": [], "pipes": []}
    work = f"the demo's pipeline on {max_bytes // (1 << 20)} MiB of files"
    for _ in range(rounds):
        for mode, into in values.items():
            out, why = run([binaries / "examples" / "pipeline", "--mode", mode, "--pool", "bench", "--json", "--no-kill",
                            "--max-bytes", max_bytes, "/usr/lib", "/usr/share"], environment)
            if out is None:
                yield absent("demo", work, "MB/s", None, why)
                return
            into.append(json.loads(out)["bytes_per_second"] * 1e-6)
    ours, peer = values["pool"], values["pipes"]
    yield entry("demo", work, statistics.median(ours), "MB/s", statistics.median(peer), "malloc and pipes", None, None,
                [min(ours), max(ours)], [min(peer), max(peer)])
