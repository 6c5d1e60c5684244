"""What must run, or be reserved, while peers are measured; all of it put back at the end."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
HUGEPAGE_KIB = 2048

METADATA_MIB = 1024  # of the pools that P12 fills
CLASSES = (4096, 16384, 65536, 262144, 1048576, 4194304)


def meminfo(name):
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def pool_name(size, mib):
    return f"p{size // 1024}k-{mib}m"


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def comparison_pools(pipeline_pools, virtual_gib):
    """Lines of the configuration."""
    return ["bench: {classes: [4KiB, 16KiB, 64KiB, 256KiB, 1MiB, 4MiB], limit: 1GiB, thread_cache: 16MiB}",
            f"small: {{classes: [4KiB], limit: {METADATA_MIB}MiB}}",
            f"large: {{classes: [64KiB], limit: {METADATA_MIB}MiB}}",
            f"vast: {{classes: [64KiB], limit: {virtual_gib}GiB}}"] + [
                f"{pool_name(size, mib)}: {{classes: [{size // 1024}KiB], limit: {mib + mib // 16 + 2}MiB}}"
                for size, mib in pipeline_pools]


# P10: room for 4,096 threads, none of which caches much.
SCRAPE_POOLS = ["bench: {classes: [4KiB, 64KiB, 1MiB, 4MiB], thread_cache: 64KiB}"]
SCRAPE_LINES = "pages: {size: [4KiB]}\nlimits: {threads: 8192}\n"


@contextmanager
def zeropoold(binaries, pools, more=""):
    """A zeropoold of the bench's own: (environment for clients, metrics' URL, its pid)."""
    folder = Path(tempfile.mkdtemp(prefix="zeropool-bench."))
    free_mib = meminfo("MemAvailable") // 1024
    budget = max(1024, free_mib * 3 // 4)
    (folder / "zeropoold.yaml").write_text(
        f"budget: {budget}MiB\n"
        f"socket: {{path: {folder}/socket, mode: \"0600\"}}\n"
        "metrics: {listen: [\"127.0.0.1:0\"]}\n"
        "log: {level: info}\n" + more +
        "pools:\n" + "".join(f"  {pool}\n" for pool in pools))
    log = open(folder / "log", "w+")
    process = subprocess.Popen([binaries / "zeropoold", "--config", folder / "zeropoold.yaml"],
                               stdout=log, stderr=log)
    try:
        port = None
        for _ in range(600):
            found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)/", (folder / "log").read_text())
            if found and (folder / "socket").exists():
                port = found.group(1)
                break
            if process.poll() is not None:
                break
            time.sleep(0.05)
        if port is None:
            raise RuntimeError("zeropoold did not start:\n" + (folder / "log").read_text())
        yield {"ZEROPOOL_SOCKET": str(folder / "socket")}, f"http://127.0.0.1:{port}/metrics", process.pid
    finally:
        stop(process)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hugepages(mib):
    """Whether so many MiB of 2 MiB pages are free; those that had to be reserved for it are given back."""
    wanted = mib * 1024 // HUGEPAGE_KIB
    added = 0
    try:
        missing = wanted - meminfo("HugePages_Free")
        if missing > 0 and os.access(HUGEPAGES, os.W_OK) and meminfo("MemAvailable") > 4 * mib * 1024:
            before = meminfo("HugePages_Total")
            HUGEPAGES.write_text(str(before + missing))
            added = meminfo("HugePages_Total") - before
        yield meminfo("HugePages_Free") >= wanted
    except OSError:
        yield False
    finally:
        if added > 0:
            HUGEPAGES.write_text(str(max(0, meminfo("HugePages_Total") - added)))


@contextmanager
def dpdk_folder():
    """DPDK makes a folder for what it would share with other processes; it goes when it was not there before."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp") if os.geteuid() else "/var/run") / "dpdk"
    there = folder.exists()
    try:
        yield
    finally:
        if not there:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def roudi():
    """iceoryx's daemon: why it does not run, or "". Nothing of it is left."""
    program = shutil.which("iox-roudi")
    if program is None:
        yield "iox-roudi is not installed"
        return
    names = ("/dev/shm/iceoryx_mgmt", "/tmp/roudi.lock", "/tmp/iox-unique-roudi.lock")
    if os.path.exists("/dev/shm/iceoryx_mgmt"):
        yield "another RouDi runs, or has left /dev/shm/iceoryx_mgmt"
        return
    segments_before = set(os.listdir("/dev/shm"))
    sockets_before = client_sockets()
    folder = Path(tempfile.mkdtemp(prefix="zeropool-bench."))
    counts = {1048576: 128, 4194304: 16}
    (folder / "roudi.toml").write_text("[general]\nversion = 1\n[[segment]]\n" + "".join(
        f"[[segment.mempool]]\nsize = {size}\ncount = {counts.get(size, 256)}\n" for size in CLASSES))
    log = folder / "log"
    with open(log, "w") as output:
        # Unwatched: a client that the machine does not run for a while is no dead client.
        process = subprocess.Popen([program, "-c", folder / "roudi.toml", "-m", "off", "-l", "error"],
                                   stdout=output, stderr=output)
    try:
        why = "RouDi did not come up"
        for _ in range(400):
            if "RouDi is ready for clients" in log.read_text(errors="replace"):
                why = ""
                break
            if process.poll() is not None:
                why = "RouDi ended at once"
                break
            time.sleep(0.05)
        yield why
    finally:
        stop(process)
        for name in [*names, *(f"/dev/shm/{new}" for new in set(os.listdir("/dev/shm")) - segments_before
                               if new in ("iceoryx_mgmt", "root", user_name()))]:
            Path(name).unlink(missing_ok=True)
        for path in client_sockets() - sockets_before:  # of clients that had to be killed
            path.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def client_sockets():
    """What iceoryx makes for each client of the bench, named after its process."""
    return set(Path("/tmp").glob("zeropool-bench-[0-9]*"))


def user_name():
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
