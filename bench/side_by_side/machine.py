"""What the machine is, and which of its CPUs a work runs on."""

import os
import platform
import subprocess
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def cpu_list(text):
    """The numbers in a list like 0-3,8."""
    numbers = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def cache_of(cpu, level, kind=("Unified", "Data")):
    """(size, the CPUs that share it) as sysfs says, or ("", [])."""
    for index in sorted((CPUS / f"cpu{cpu}" / "cache").glob("index*")):
        if read(index / "level") == str(level) and read(index / "type") in kind:
            return read(index / "size"), cpu_list(read(index / "shared_cpu_list"))
    return "", []


def usable_cpus():
    """One CPU a core of those that this process may use."""
    chosen = []
    taken = set()
    for cpu in sorted(os.sched_getaffinity(0)):
        if cpu in taken:
            continue
        chosen.append(cpu)
        taken.update(cpu_list(read(CPUS / f"cpu{cpu}" / "topology/thread_siblings_list")) or [cpu])
    return chosen


def ways(cpus):
    """{"near": CPUs under one L3, the first of all; "far": two CPUs under two}; what there is of it."""
    first = cpus[0]
    under_one = cache_of(first, 3)[1] or cpus
    near = [cpu for cpu in cpus if cpu in under_one]
    far = [cpu for cpu in cpus if cpu not in under_one]
    found = {}
    if len(near) > 1:
        found["near"] = near
    if far:
        found["far"] = [first, far[0]]
    return found


def commit(root):
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return name + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def describe(root):
    model = next((line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines()
                  if line.startswith("model name")), platform.machine())
    cpus = usable_cpus()
    caches = {f"L{level}": cache_of(cpus[0], level)[0] for level in (1, 2, 3)}
    memory = next((int(line.split()[1]) // 1024 for line in read("/proc/meminfo").splitlines()
                   if line.startswith("MemTotal")), 0)
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "cores_used": len(cpus),
        "caches": {name: size for name, size in caches.items() if size},
        "memory_mib": memory,
        "kernel": platform.release(),
        "governor": read(CPUS / f"cpu{cpus[0]}" / "cpufreq/scaling_governor") or "not readable",
        "load": read("/proc/loadavg").split(" ")[0],
        "commit": commit(root),
    }


def sentence(machine):
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items()) or "caches unknown"
    return (f"commit {machine['commit']}; {machine['cpu']}, {machine['cpus']} CPUs, {caches}; "
            f"{machine['memory_mib']} MiB; Linux {machine['kernel']}; governor {machine['governor']}; "
            f"load {machine['load']} when it began")
