"""Chromium without a screen, by chromedriver's WebDriver protocol: as much of it as the tests need."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from zeropool_process import end, end_with_parent

# As root there is no sandbox; the others keep it from asking for hosts of its own.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars"]
TAB = "\ue004"
ENTER = "\ue007"


class Browser:
    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="zeropool-chromium-",
                                                    ignore_cleanup_errors=True)
        self._session = None
        if shutil.which("chromedriver") is None:
            raise SystemExit("chromedriver is not installed: scripts/packages --install e2e")
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True,
                                        preexec_fn=end_with_parent)
        for line in self._driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self._url = f"http://127.0.0.1:{found.group(1)}"
                break
        else:
            raise AssertionError("chromedriver did not start")

    def __enter__(self):
        flags = FLAGS + [f"--user-data-dir={self._profile.name}"]
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags, "binary": os.environ.get("CHROMIUM", "/usr/bin/chromium")},
            "goog:loggingPrefs": {"browser": "ALL"}}}})
        self._session = answer["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            if self._session:
                self._ask("DELETE", f"/session/{self._session}")
        finally:
            end(self._driver)
            self._driver.stdout.close()
            self._profile.cleanup()

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=180) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:2000]}") from None

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self._session}{path}", body)

    def devtools(self, command, **parameters):
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def press(self, *keys):
        actions = []
        for key in keys:
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self):
        """What the console said since the last call."""
        return self._do("POST", "/se/log", {"type": "browser"})

    def look(self, width=1280, height=900, dark=False, phone=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=phone)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def script(self, allowed):
        self.devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    def screenshot(self, path, selector="body"):
        """The page from its top to the end of the element."""
        width, height = self.run("""
            const place = document.querySelector(arguments[0]).getBoundingClientRect();
            return [document.documentElement.clientWidth, Math.ceil(place.bottom + scrollY)]""", selector)
        answer = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                               clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1})
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))
