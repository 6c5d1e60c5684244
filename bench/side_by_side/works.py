"""The works, and the rows of the table that they make: what is compared with what, and the goal."""

from dataclasses import dataclass, replace

import peers as p
from results import absent

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Task:
    """One work of one peer: what a repetition runs. `copies`: so many at once, on CPUs of their own; rates are added."""
    peer: p.Peer
    work: str
    size: int = 64 * KIB
    cpus: tuple = ()
    copies: int = 1


@dataclass(frozen=True)
class Goal:
    kind: str  # ratio: of ours to the peer's; value: of ours alone
    sense: str  # at most, at least
    bound: float

    def text(self, unit):
        sign = "<=" if self.sense == "at most" else ">="
        return f"{sign} {self.bound:g} x" if self.kind == "ratio" else f"{sign} {self.bound:g} {unit}"

    def met(self, ours, ratio):
        value = ratio if self.kind == "ratio" else ours
        if value is None:
            return None
        return value <= self.bound if self.sense == "at most" else value >= self.bound


def at_most(bound, kind="ratio"):
    return Goal(kind, "at most", bound)


def at_least(bound, kind="ratio"):
    return Goal(kind, "at least", bound)


@dataclass(frozen=True)
class Row:
    id: str
    work: str
    ours: Task
    peer: Task | None
    peer_name: str
    unit: str
    goal: Goal | None = None


def size_text(size):
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


class Rows:
    """The rows for a machine, and in `absent` the goals that need CPUs which it does not have."""

    def __init__(self, installed, cpus, ways, pipeline_pools, quick):
        self.installed = installed
        self.cpus = cpus
        self.ways = ways
        self.pipeline_pools = pipeline_pools
        self.quick = quick
        self.rows = []
        self.absent = []
        self.alone()
        if "near" in ways:
            self.together(tuple(ways["near"][:2]))
        else:
            for id, unit in (("P3", "ns"), ("P4", "ns"), ("P5", "ns"), ("P6", "GB/s")):
                self.absent.append(absent(id, "two cores under one L3", unit, None, "the bench may use one CPU under an L3"))
        if "far" not in ways:
            self.absent.append(absent("P6", "pipeline between two L3s", "GB/s", at_least(5).text("GB/s"),
                                      "the bench may use CPUs under one L3 only", "glibc"))
        for way, on in ways.items():
            self.pipelines(way, tuple(on))
        self.many_cores()

    def compare(self, id, work, ours, others, unit, goals=()):
        """A row a peer; goals: [(peers of which the first that is here counts, goal)]."""
        judged = {}
        for candidates, goal in goals:
            here = next((peer for peer in candidates if not self.installed.why_not(peer)), None)
            judged[here or candidates[0]] = goal
        for peer in others:
            goal = judged.get(peer)
            if self.quick and goal is None and ("tuned" in peer.name or peer in (p.DPDK_PLAIN, p.NODES)):
                continue
            self.rows.append(Row(id, work, ours, replace(ours, peer=peer), peer.name, unit, goal))

    def alone(self):
        one = (self.cpus[0],)
        dpdk = (p.DPDK, p.DPDK_PLAIN)
        for size in (4 * KIB, 64 * KIB, MIB, 4 * MIB):
            others = p.ALLOCATORS + p.DPDKS + (p.ICEORYX, p.SEGMENT)
            if size != 4 * MIB:
                others += (p.NODES, p.CACHED_NODES, p.QUEUE, p.STACK)
            if self.quick and size in (4 * KIB, 4 * MIB):
                others = (p.TCMALLOC, p.DPDK, p.DPDK_PLAIN)
            self.compare("P1", f"get+put hit, {size_text(size)}", Task(p.OURS, "pair", size, one), others,
                         "ns", [(dpdk, at_most(0.8))])
        self.compare("P1", "get+put hit, 64 KiB, C", Task(p.OURS_C, "pair", 64 * KIB, one), (p.TCMALLOC,),
                     "ns", [((p.TCMALLOC,), at_most(1.2))])
        self.compare("P2", "64 gets, 64 puts, 64 KiB, each", Task(p.OURS, "many", 64 * KIB, one),
                     p.ALLOCATORS + p.DPDKS + (p.ICEORYX, p.SEGMENT, p.CACHED_NODES, p.QUEUE, p.STACK), "ns",
                     [(dpdk, at_most(1.0))])
        self.compare("P2", "batch of 64 by one call, 64 KiB, each", Task(p.OURS, "batch", 64 * KIB, one),
                     p.DPDKS, "ns", [(dpdk, at_most(1.5, "value"))])
        self.compare("mixed", "sizes by Zipf over five classes", Task(p.OURS, "mixed", 64 * KIB, one),
                     p.ALLOCATORS + p.DPDKS + (p.ICEORYX, p.SEGMENT), "ns")
        self.compare("ramp", "up to 32 MiB and down, 64 KiB, each", Task(p.OURS, "ramp", 64 * KIB, one),
                     p.ALLOCATORS + (p.DPDK, p.DPDK_RING, p.DPDK_PLAIN, p.SEGMENT, p.CACHED_NODES, p.QUEUE), "ns")

    def together(self, two):
        size = 64 * KIB
        single = Task(p.OURS, "pair", size, two[:1])
        self.compare("threads", "hits of two threads, 64 KiB", Task(p.OURS, "threads", size, two),
                     p.ALLOCATORS + p.BETWEEN_PROCESSES, "ns")
        self.compare("other", "got here, put by another thread, 64 KiB",
                     Task(p.OURS, "other_thread", size, two), p.ALLOCATORS + p.BETWEEN_PROCESSES, "ns")
        ours = Task(p.OURS, "processes", size, two)
        self.rows.append(Row("P3", "hits in two processes at once, 64 KiB", ours, single, "one process", "ns",
                             at_most(1.05)))
        self.compare("P3", "hits in two processes at once, 64 KiB", ours, p.BETWEEN_PROCESSES, "ns")
        self.compare("P4", "hand-off between processes, 64 KiB", Task(p.OURS, "hand_off", size, two),
                     p.BETWEEN_PROCESSES, "ns", [((p.ICEORYX,), at_most(60, "value"))])
        self.compare("P4", "hand-off in batches of 32, each", Task(p.OURS, "hand_off_32", size, two),
                     p.BETWEEN_PROCESSES, "ns", [((p.ICEORYX,), at_most(20, "value"))])
        ring = Task(p.RING, "contended", 4 * KIB, two)
        self.compare("P5", "magazines of 32 claimed and released by two, a slot", ring,
                     (p.DPDK_RING, replace(p.DPDK_RING, name="DPDK, bare ring, no hugepages", variant="ring,plain",
                                           service="")), "ns", [((p.DPDK_RING,), at_most(4.7, "value"))])
        self.compare("P5", "batches of 32 got and put by two processes, 4 KiB, each",
                     Task(p.OURS, "contended", 4 * KIB, two), p.DPDKS, "ns")

    def pipelines(self, way, on):
        two = on[:2]
        allocators = p.ALLOCATORS if not self.quick else (p.GLIBC, p.TCMALLOC)
        others = allocators + (p.ICEORYX, p.DPDK, p.DPDK_TUNED, p.DPDK_PLAIN, p.SEGMENT, p.QUEUE, p.QUEUE_TUNED,
                               p.STACK, p.HAND_STACK)
        for size in (64 * KIB, MIB):
            for pool_size, mib in self.pipeline_pools:
                if pool_size != size:
                    continue
                ours = Task(replace(p.OURS, variant=f"p{size // KIB}k-{mib}m+filled"), "pipeline", size, two)
                text = f"pipeline, {size_text(size)}, pool of {mib} MiB, {way}"
                last = (size, mib) == [pool for pool in self.pipeline_pools if pool[0] == size][-1]
                goals = [((p.FIFO,), at_least(0.9))] if way == "near" else [((p.GLIBC,), at_least(5))]
                if way == "near":
                    times = 5 if size == 64 * KIB else 2
                    goals += [((p.GLIBC,), at_least(times)), ((p.ICEORYX,), at_least(times)),
                              ((p.DPDK, p.DPDK_PLAIN), at_least(2))]
                self.compare("P6", text, ours, (p.FIFO,) + (others if last else ()), "GB/s",
                             goals if last else goals[:1])
        pool = f"p64k-{[mib for size, mib in self.pipeline_pools if size == 64 * KIB][-1]}m+filled"
        ours = replace(p.OURS, variant=pool)
        three = tuple(on[:3]) if len(on) > 2 else two
        crowded = "" if len(on) > 2 else ", three on two CPUs"
        if way == "near":
            short = (p.GLIBC, p.TCMALLOC, p.ICEORYX, p.DPDK, p.DPDK_PLAIN, p.QUEUE, p.STACK)
            self.compare("relay", f"pipeline, a relay of three, 64 KiB{crowded}",
                         Task(ours, "relay", 64 * KIB, three), short, "GB/s")
            self.compare("fan-in", f"pipeline, two producers, 64 KiB{crowded}",
                         Task(ours, "fan_in", 64 * KIB, three), short, "GB/s")

    def many_cores(self):
        """P13, with as many cores as there are: a verdict only from 16."""
        count = min(16, len(self.cpus))
        if count < 16:
            why = f"the bench may use {len(self.cpus)} cores, and 16 are wanted"
            self.absent.append(absent("P13", "hits of 16 threads, 64 KiB", "ns", at_most(1 / 0.95).text("ns"), why, "one thread"))
            self.absent.append(absent("P13", "8 pipelines at once, 64 KiB, a pair", "GB/s", at_least(0.9).text("GB/s"), why,
                                      "one pipeline"))
        if count < 4:
            return
        judged = at_most(1 / 0.95) if count == 16 else None
        all_of_them = tuple(self.cpus[:count])
        self.rows.append(Row("P13", f"hits of {count} threads, 64 KiB", Task(p.OURS, "threads", 64 * KIB, all_of_them),
                             Task(p.OURS, "pair", 64 * KIB, all_of_them[:1]), "one thread", "ns", judged))
        pairs = count // 2
        pool = replace(p.OURS, variant="bench")
        self.rows.append(Row("P13", f"{pairs} pipelines at once, 64 KiB, a pair",
                             Task(pool, "pipeline", 64 * KIB, all_of_them, pairs),
                             Task(pool, "pipeline", 64 * KIB, all_of_them[:2]), "one pipeline", "GB/s",
                             at_least(0.9) if count == 16 else None))
