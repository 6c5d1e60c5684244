"""Ours and the peers: which program each is, and how it is set up. Tuned ones stand beside those as they come."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    name: str
    program: str  # zeropool_work_...
    variant: str = ""
    preload: str = ""  # the CMake variable with an allocator's library
    environment: tuple = ()
    service: str = ""  # hugepages or roudi
    threads_only: bool = False


def allocator(name, preload="", *environment):
    return Peer(name, "malloc", preload=preload, environment=environment, threads_only=True)


OURS = Peer("zeropool", "zeropool", "bench")
OURS_C = Peer("zeropool, C", "zeropool_c", "bench")
RING = Peer("zeropool's ring", "zeropool_ring")

ALLOCATORS = (
    allocator("glibc"),
    allocator("glibc, tuned", "", ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=67108864:"
                                   "glibc.malloc.trim_threshold=1073741824:glibc.malloc.top_pad=67108864")),
    allocator("mimalloc", "MIMALLOC_LIBRARY"),
    allocator("mimalloc, tuned", "MIMALLOC_LIBRARY", ("MIMALLOC_PAGE_RESET", "0"),
              ("MIMALLOC_SEGMENT_CACHE", "64"), ("MIMALLOC_EAGER_COMMIT_DELAY", "0")),
    allocator("jemalloc", "JEMALLOC_LIBRARY"),
    allocator("jemalloc, tuned", "JEMALLOC_LIBRARY",
              ("MALLOC_CONF", "dirty_decay_ms:-1,muzzy_decay_ms:-1,lg_tcache_max:23")),
    allocator("tcmalloc", "TCMALLOC_MINIMAL_LIBRARY"),
    allocator("tcmalloc, tuned", "TCMALLOC_MINIMAL_LIBRARY",
              ("TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES", "268435456"), ("TCMALLOC_RELEASE_RATE", "0")),
)
GLIBC = ALLOCATORS[0]
TCMALLOC = ALLOCATORS[6]

DPDK = Peer("DPDK, cached", "dpdk", "cached,huge", service="hugepages")
DPDK_TUNED = Peer("DPDK, tuned", "dpdk", "tuned,huge", service="hugepages")
DPDK_RING = Peer("DPDK, bare ring", "dpdk", "ring,huge", service="hugepages")
DPDK_PLAIN = Peer("DPDK, cached, no hugepages", "dpdk", "cached,plain")
ICEORYX = Peer("iceoryx", "iceoryx", service="roudi")
SEGMENT = Peer("Boost managed segment", "interprocess", "segment")
NODES = Peer("Boost node_allocator", "interprocess", "node")
CACHED_NODES = Peer("Boost cached_node_allocator", "interprocess", "cached")
QUEUE = Peer("boost::lockfree::queue, 256 MiB", "lockfree", "queue:256")
QUEUE_TUNED = Peer("boost::lockfree::queue, 8 MiB", "lockfree", "queue:8")
STACK = Peer("boost::lockfree::stack", "lockfree", "stack:256")
FIFO = Peer("by hand, FIFO over 4 MiB", "by_hand", "fifo:4")
HAND_STACK = Peer("by hand, last first", "by_hand", "stack:4")

DPDKS = (DPDK, DPDK_TUNED, DPDK_RING, DPDK_PLAIN)
BETWEEN_PROCESSES = DPDKS + (ICEORYX, SEGMENT, NODES, CACHED_NODES, QUEUE, QUEUE_TUNED, STACK)


@dataclass
class Installed:
    """What was built and found, and why the rest is not there."""
    binaries: Path
    cache: dict
    missing: dict = field(default_factory=dict)  # service -> why

    @staticmethod
    def read(build, missing):
        cache = {}
        for line in (build / "CMakeCache.txt").read_text().splitlines():
            name, _, value = line.partition("=")
            cache[name.partition(":")[0]] = value
        return Installed(build / "bin", cache, missing)

    def why_not(self, peer):
        if not (self.binaries / f"zeropool_work_{peer.program}").exists():
            return "not built: its package is not installed"
        if peer.preload and not Path(self.cache.get(peer.preload, "")).is_file():
            return "its library is not installed"
        return self.missing.get(peer.service, "")

    def environment(self, peer):
        found = dict(peer.environment)
        if peer.preload:
            found["LD_PRELOAD"] = self.cache[peer.preload]
        return found
