"""deploy/kubernetes: the start script of the pod, run as the manifest has it, with daemons that are killed and replaced.

Where this machine lets us, each pod has a PID namespace of its own, as under Kubernetes: what is killed with a pod is real.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import yaml
from zeropool_process import HERE, end, end_with_parent, eventually

MANIFEST = os.path.join(os.environ["ZEROPOOL_SOURCE_DIR"], "deploy", "kubernetes", "zeropoold.yaml")
HELD = 300


def own_pid_namespace():
    """The command before a pod's, or none where that is not allowed."""
    if os.geteuid() == 0:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    else:
        command = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        return command
    print("no PID namespaces here: the pods share this one", file=sys.stderr)
    return []


def manifest():
    with open(MANIFEST, encoding="utf-8") as file:
        return {document["kind"]: document for document in yaml.safe_load_all(file)}


class Pod:
    """One pod: its script as process 1 of its container."""

    def __init__(self, node, name):
        self.state = os.path.join(node.folder, name)
        self.node = node
        os.mkdir(self.state)
        self.log_path = self.state + ".log"
        self.process = None
        self.start()

    def start(self):
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*self.node.namespace, "/bin/sh", self.node.script, self.node.config, self.state],
                stdout=log, stderr=log, env=self.node.environment,
                preexec_fn=lambda: end_with_parent(signal.SIGKILL))

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def ready(self, starts=1):
        """Whether its daemon has come up so many times."""
        return self.log().count("socket " + self.node.socket + " (mode") >= starts

    def first(self):
        """Process 1 of the container, as seen from here."""
        if not self.node.namespace:
            return self.process.pid
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def daemon(self):
        """The pid of its daemon; None: there is none now."""
        with open(f"/proc/{self.first()}/task/{self.first()}/children", encoding="ascii") as file:
            for pid in file.read().split():
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if comm.read() == "zeropoold\n":
                        return int(pid)
        return None

    def stop(self):
        """As the kubelet does."""
        if self.process.poll() is None:
            os.kill(self.first(), signal.SIGTERM)
        return self.process.wait(timeout=60)


class Node:
    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="zeropool-pod-")
        self.folder = self._folder.name
        self.socket = os.path.join(self.folder, "zeropoold.sock")
        self.script = os.path.join(self.folder, "zeropoold-pod")
        self.config = os.path.join(self.folder, "zeropoold.yaml")
        self.namespace = own_pid_namespace()
        self.environment = os.environ | {"ZEROPOOL_SOCKET": self.socket, "ZEROPOOL_RETRY_S": "1"}
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(manifest()["ConfigMap"]["data"]["zeropoold-pod"])
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"budget: 64MiB\nsocket: {{path: {self.socket}}}\nmetrics: {{listen: []}}\n"
                       "pages: {size: [4KiB]}\npools: {default: {classes: [4KiB]}}\n")
        self.pods = []
        self.clients = []
        return self

    def __exit__(self, *_):
        for client in self.clients:
            end(client)
            client.stdout.close()
        for pod in self.pods:
            pod.stop()
        self._folder.cleanup()

    def pod(self, name):
        self.pods.append(Pod(self, name))
        return self.pods[-1]

    def client(self, *options):
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "zeropool_client.py"), "--socket", self.socket, "--pool", "default",
             "--name=c", *options], stdout=subprocess.PIPE, text=True)
        self.clients.append(process)
        if process.stdout.readline() != "ready\n":
            raise AssertionError("the client did not come up")
        return process

    def ctl(self, *arguments):
        ran = subprocess.run([os.environ["ZEROPOOLCTL"], "--socket", self.socket, "--json", *arguments],
                             capture_output=True, text=True, timeout=120, check=False)
        if ran.returncode != 0:
            raise OSError(ran.stderr)
        return json.loads(ran.stdout)

    def held(self):
        """What the daemon says that clients hold."""
        return sum(client["held_bytes"] for client in self.ctl("clients")["clients"]) // 4096


class PodTest(unittest.TestCase):
    def test_a_killed_daemon_is_followed_by_one_with_its_clients_in_the_same_pod(self):
        with Node() as node:
            pod = node.pod("first")
            eventually(pod.ready, what="the daemon is up")
            node.client(f"--hold={HELD}", "--busy=64")
            eventually(lambda: node.held() >= HELD)
            before = pod.daemon()
            os.kill(before, signal.SIGKILL)
            eventually(lambda: pod.daemon() not in (None, before), what="another daemon")
            eventually(lambda: pod.ready(2), what="it is up")
            self.assertGreaterEqual(eventually(node.held), HELD)
            self.assertIsNone(node.clients[0].poll())
            node.client("--hold=16")

    def test_a_new_pod_takes_over_and_the_old_one_goes_with_nothing_lost(self):
        with Node() as node:
            old = node.pod("old")
            eventually(old.ready, what="the daemon is up")
            holder = node.client(f"--hold={HELD}")
            busy = node.client("--busy=64")
            eventually(lambda: node.held() >= HELD)
            new = node.pod("new")
            eventually(new.ready, what="the new pod has taken over")
            self.assertGreaterEqual(eventually(node.held), HELD)
            # The old one's container comes back, as after a failed probe: it must not take over from its successor.
            self.assertEqual(old.stop(), 0)
            old.start()
            eventually(lambda: "another zeropoold serves" in old.log(), what="it finds another at work")
            self.assertFalse(old.ready(2))
            self.assertEqual(old.stop(), 0)
            # The old holder went with the old pod: the new pod has one of its own before its daemon dies.
            busy.terminate()
            busy.wait()
            eventually(lambda: len(node.ctl("clients")["clients"]) == 1, what="the busy client is reclaimed")
            node.client("--hold=16")
            os.kill(new.daemon(), signal.SIGKILL)
            eventually(lambda: new.ready(2), what="the next daemon is up")
            self.assertGreaterEqual(eventually(node.held), HELD)
            self.assertIsNone(holder.poll())

    def test_a_pod_that_cannot_start_ends_and_leaves_the_old_one_alone(self):
        with Node() as node:
            old = node.pod("old")
            eventually(old.ready, what="the daemon is up")
            node.client(f"--hold={HELD}")
            daemon = old.daemon()
            with open(node.config, "a", encoding="utf-8") as file:
                file.write("no_such_key: 1\n")
            new = node.pod("new")
            eventually(lambda: "no_such_key" in new.log(), what="it says why")
            self.assertEqual(new.stop(), 0)
            self.assertEqual(old.daemon(), daemon)
            self.assertGreaterEqual(eventually(node.held), HELD)

    def test_a_first_start_that_fails_is_the_pods_failure(self):
        with Node() as node:
            with open(node.config, "a", encoding="utf-8") as file:
                file.write("no_such_key: 1\n")
            pod = node.pod("first")
            self.assertNotEqual(pod.process.wait(timeout=60), 0)
            self.assertIn("no_such_key", pod.log())

    def test_a_reload_and_a_stop_reach_the_daemon_and_the_container_ends_with_0(self):
        with Node() as node:
            pod = node.pod("first")
            eventually(pod.ready, what="the daemon is up")
            os.kill(pod.first(), signal.SIGHUP)
            eventually(lambda: "reload" in pod.log(), what="it reloads")
            self.assertEqual(pod.stop(), 0)
            self.assertFalse(os.path.exists(node.socket))
            self.assertFalse(os.path.exists(node.socket + ".holder"))


if __name__ == "__main__":
    unittest.main()
