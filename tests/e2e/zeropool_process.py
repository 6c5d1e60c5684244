"""A zeropoold of one's own, in a private folder, and clients of it.

The programs are $ZEROPOOLD, $ZEROPOOLCTL and $LIBZEROPOOL. Everything listens on loopback, at ports that the kernel
chooses, and ends with the `with` block.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


def end_with_parent(how=signal.SIGTERM):
    """In a child, before it executes: it ends with the test, however that ends. (The daemon in order: its holder too.)"""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)


def eventually(condition, seconds=30, what="a condition"):
    """What `condition` returns as soon as that is true; it may raise meanwhile."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            result = condition()
            if result:
                return result
        except (OSError, ValueError, AssertionError) as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {seconds} s; last: {last!r}")
        time.sleep(0.05)


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Daemon:
    def __init__(self, config, metrics=""):
        """`metrics`: keys of that section, beside its address."""
        self._folder = tempfile.TemporaryDirectory(prefix="zeropool-e2e-")
        self.folder = self._folder.name
        self.socket = os.path.join(self.folder, "zeropoold.sock")
        self._config = config
        self._metrics = metrics
        self._port = 0
        self._clients = []
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for client in self._clients:
            end(client)
            client.stdout.close()
        if self.process is not None:
            end(self.process)
        self._folder.cleanup()

    def start(self):
        """Again at the same port, where it had one."""
        path = os.path.join(self.folder, "zeropoold.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"socket: {{path: {self.socket}}}\n")
            file.write(f'metrics: {{listen: ["127.0.0.1:{self._port}"], {self._metrics}}}\n{self._config}')
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [os.environ["ZEROPOOLD"], "--config", path], stdout=log, stderr=log,
                preexec_fn=end_with_parent)
        eventually(self._is_up, what="the daemon is up")

    def _is_up(self):
        if self.process.poll() is not None:
            raise SystemExit("zeropoold ended:\n" + self.log())
        found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)/", self.log())
        if not found:
            return False
        self._port = int(found.group(1))
        return self.fetch("-/ready") == "ready\n"

    def stop(self):
        end(self.process)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/"

    def fetch(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.read().decode("utf-8")

    def view(self):
        return json.loads(self.fetch("status.json"))

    def metrics(self):
        """[(name, {label: value}, number)]"""
        series = []
        for line in self.fetch("metrics").splitlines():
            found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
            if found:
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
                series.append((found.group(1), labels, float(found.group(3))))
        return series

    def metric(self, name, **labels):
        """The sum of all series of that name that have these labels."""
        found = [value for of, has, value in self.metrics()
                 if of == name and all(has.get(key) == text for key, text in labels.items())]
        if not found:
            raise AssertionError(f"there is no metric {name} {labels}")
        return sum(found)

    def ctl(self, *arguments, **options):
        return subprocess.run([os.environ["ZEROPOOLCTL"], "--socket", self.socket, *arguments],
                              capture_output=True, text=True, timeout=120, **options)

    def client(self, pool, name, **options):
        """A process that holds, or gets and puts: see zeropool_client.py."""
        arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "zeropool_client.py"), "--socket", self.socket,
             "--pool", pool, f"--name={name}", *arguments],
            stdout=subprocess.PIPE, text=True)
        self._clients.append(process)
        if process.stdout.readline() != "ready\n":
            raise AssertionError(f"the client {name!r} did not come up: {process.wait()}")
        return process
