#!/usr/bin/env python3
"""page_screenshot.py PNG [--dark] [--phone]: the status page under load, for docs/. Run with the environment of the tests."""

import argparse
import time

from web_driver import Browser
from zeropool_process import Daemon

CONFIG = """budget: 192MiB
pages: {size: [4KiB]}
pools:
  frames: {reserved: 32MiB, classes: [4KiB, 64KiB, 1MiB]}
  audio: {limit: 24MiB, classes: [4KiB, 16KiB], wait: {timeout: 300s}}
  telemetry: {limit: 48MiB, classes: [1KiB, 4KiB]}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("png")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--to", default="body", help="the element that it ends with")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with Daemon(CONFIG) as daemon, Browser() as browser:
        daemon.client("frames", "camera-1", size=1 << 20, hold=30)
        daemon.client("frames", "encoder", size=65536, hold=120, busy=300)
        daemon.client("frames", "muxer", size=4096, hold=500, busy=2000)
        daemon.client("audio", "mixer", size=16384, hold=300, busy=100)
        daemon.client("telemetry", "collector", size=1024, hold=3000, busy=500)
        daemon.client("audio", "recorder", size=16384, want=1400)
        browser.look(*(360, 740) if arguments.phone else (1120, 900), dark=arguments.dark, phone=arguments.phone)
        browser.open(daemon.url)
        time.sleep(arguments.seconds)
        browser.screenshot(arguments.png, arguments.to)


if __name__ == "__main__":
    main()
