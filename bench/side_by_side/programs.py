"""What other programs of the bench print, as entries: P7 to P12, P16, attach, the demo's pipeline."""

import json
import os
import re
import statistics
import subprocess
import urllib.request

from results import entry
from rounds import SPREAD, spread

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


def judged(id, work, unit, bound, values, goal_text=None, peer=None, peer_name="the goal alone", ratio_bound=None):
    """At most `bound`, or at most ratio_bound times the peer's; values: the repetitions, of which the median counts."""
    goal = goal_text or (f"<= {ratio_bound:g} x" if ratio_bound else f"<= {bound:g} {unit}" if bound else None)
    if not values:
        raise ValueError("no values")
    ours = statistics.median(values)
    limit = ratio_bound * peer if ratio_bound and peer else bound
    met = ours <= limit if limit is not None else None
    note = ""
    if met is not None and len(values) > 1 and spread(values) > SPREAD:
        # All on one side of the goal is a verdict whatever the spread.
        if min(values) <= limit < max(values):
            met = None
        note = f"ours spreads by {spread(values):.0%}"
    return entry(id, work, ours, unit, peer, peer_name, goal, met, [min(values), max(values)], note=note)


def absent(id, work, unit, goal, why):
    return entry(id, work, None, unit, None, "the goal alone", goal, None, note=why)


# (program, its word, [(id, work, unit, goal, pattern)]): ours is the first group; a second, the peer's.
PRINTED = (
    ("zeropool_waiting_bench", "growth", (
        ("P8", "new memory, as fallocate alone brings it", "MiB/s", ">= 0.9 x",
         r"gets ([\d.]+) MiB/s of new memory, fallocate alone brings ([\d.]+)"),
        ("P8", "p99.9 of get while demand ramps at half of that", "ns", "<= 5000 ns", r"while demand.* p99\.9 (\d+)"))),
    ("zeropool_waiting_bench", "grant", (
        ("P9", "order to grant, both asleep", "us", "<= 1.5 x",
         r"order to grant, both asleep: median ([\d.]+) us.*?two eventfd wakes: ([\d.]+) us"),)),
    ("zeropool_waiting_bench", "async", (
        ("P16", "an async hit beyond a sync one", "ns", "<= 2 ns", r"P16 .*: \+?(-?[\d.]+) ns \(goal"),)),
    ("zeropool_crash_bench", "reclaim", (
        ("P11", "reclaim of 100,000 slots of a killed client", "ms", "<= 20 ms", r"P11 .*: median ([\d.]+) ms"),)),
)
PEERS = {"P8": "fallocate alone", "P9": "two eventfd wakes"}


def printed(binaries, environment):
    """One repetition each: they have repetitions inside."""
    for program, word, rows in PRINTED:
        out, why = run([binaries / program, word], environment)
        for id, work, unit, goal, pattern in rows:
            found = re.search(pattern, out) if out else None
            if not found:
                yield absent(id, work, unit, goal, why or "did not print it")
                continue
            ours = float(found[1])
            peer = float(found[2]) if found.lastindex == 2 else None
            sign, bound = goal.split(" ")[:2]
            value = ours / peer if goal.endswith(" x") else ours
            met = value >= float(bound) if sign == ">=" else value <= float(bound)
            yield entry(id, work, ours, unit, peer, PEERS[id] if peer else "the goal alone", goal, met)


def metrics_cost(binaries, environment, rounds):
    """P7, in turns."""
    values = {"counted": [], "uncounted": []}
    for _ in range(rounds):
        for kind, into in values.items():
            out, why = run([binaries / f"zeropool_metrics_cost_{kind}"], environment)
            if out is None:
                yield absent("P7", "get+put hit, counted", "ns", "<= 1.1 x", why)
                return
            into.append([float(word) for word in out.split()])
    for at, size in enumerate(("4 KiB", "64 KiB")):
        ours = [value[at] for value in values["counted"]]
        peer = [value[at] for value in values["uncounted"]]
        enough = len(ours) > 1 and max(spread(ours), spread(peer)) <= SPREAD
        note = "" if enough else f"ours spreads by {spread(ours):.0%}, without counters by {spread(peer):.0%}"
        met = statistics.median(ours) <= 1.1 * statistics.median(peer) if enough else None
        yield entry("P7", f"get+put hit, {size}, counted", statistics.median(ours), "ns", statistics.median(peer),
                    "counters compiled out", "<= 1.1 x", met, [min(ours), max(ours)], [min(peer), max(peer)], note)


def scrape(binaries, environment, pid, url):
    """P10; a daemon with room for 4,096 threads."""
    found = re.match(r"http://([^:]+):(\d+)/", url)
    out, why = run([binaries / "zeropool_scrape", pid, found[1], found[2], 10], environment)
    for threads, goal in ((64, 1), (4096, 10)):
        one = re.search(rf"scrape with {threads} threads.*?\n\s+text\s+\d+ bytes, median\s+([\d.]+) ms", out or "", re.S)
        work = f"scrape with {threads} threads"
        yield (judged("P10", work, "ms", goal, [float(one[1])]) if one
               else absent("P10", work, "ms", f"<= {goal} ms", why or "did not print it"))
    one = re.search(r"idle daemon, .*?, ([\d]+) of it without shared pages", out or "")
    yield (judged("P10", "idle daemon, resident without shared pages", "KiB", 20480, [float(one[1])]) if one
           else absent("P10", "idle daemon, resident without shared pages", "KiB", "<= 20480 KiB",
                       why or "did not print it"))


def metadata(binaries, environment, url, mib):
    """P12: pools of one class, all of whose memory is committed."""
    for pool, size, bound in (("small", 4096, 0.6), ("large", 65536, 0.1)):
        work = f"metadata of what is committed, {mib} MiB in slots of {size // 1024} KiB"
        words = [binaries / "zeropool_work_zeropool", "pair", "--bytes", size, "--seconds", "0.001", "--variant",
                 pool + "+filled"]
        out, why = run(words, environment)
        if out is None:
            yield absent("P12", work, "%", f"<= {bound:g} %", why)
            continue
        text = urllib.request.urlopen(url, timeout=30).read().decode()

        def total(name):
            found = re.findall(rf'^{name}{{[^}}]*pool="{pool}"[^}}]*}} (\S+)', text, re.M)
            return sum(map(float, found)) if found else None

        records, data = total("zeropool_metadata_bytes"), total("zeropool_committed_bytes")
        if not records or not data:
            yield absent("P12", work, "%", f"<= {bound:g} %", "the metrics do not say")
        else:
            yield judged("P12", work, "%", bound, [100 * records / data])


def attach(binaries, environment, pid, clients, threads, virtual_gib):
    out, why = run([binaries / "zeropool_attach", "vast", pid, clients, threads], environment)
    work = f"a client maps a pool of {virtual_gib} GiB and is ready"
    if out is None:
        yield absent("attach", work, "ms", "<= 2 ms", why)
        return
    figures = json.loads(out)
    yield judged("attach", work, "ms", 2, [us / 1000 for us in figures["ready_us"]])
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
