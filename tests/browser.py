"""Headless Chromium, asked over its debugging socket. Tests that need it are skipped where it or npm is missing."""

import json
import re
import shutil
import subprocess
import time
import urllib.request

import pytest
import websocket

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = [pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"), pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")]


class Tab:
    "A page in headless Chromium, asked over its debugging socket."

    def __init__(self, address, profile):
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            "--remote-allow-origins=*",
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen([CHROMIUM, *options, address], stderr=subprocess.PIPE, text=True)
        port = next(found[1] for line in self.process.stderr if (found := re.search(r"DevTools listening on ws://127.0.0.1:(\d+)/", line)))
        pages = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30).read())
        place = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(place, timeout=60)

    def call(self, method, **parameters):
        self.socket.send(json.dumps({"id": 1, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != 1:
            pass
        return answer["result"]

    def go(self, address):
        self.call("Page.navigate", url=address)
        self.wait(f"location.href.startsWith({json.dumps(address)}) && document.readyState == 'complete'")

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression, seconds=120):
        "The expression's value once it is true; the page's words where it never is."
        until = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < until, self.value("document.body.innerText")
            time.sleep(0.5)
        return value

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
