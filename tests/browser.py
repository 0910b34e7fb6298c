"""A Chromium that is driven over a pipe, for pages that need clicks or a width: no package is needed for that."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-quic", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"]
HIGH = 40
"""Below it lie the descriptors 3 and 4, by which Chromium hears and speaks."""


class Browser:
    """One tab.

    Args:
        folder: For its profile.

    Attributes:
        errors: What its pages complained of: errors of scripts, and what their policy did not let happen.
    """

    def __init__(self, folder):
        (ears, self._to), (self._from, mouth) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, HIGH) for end in (ears, mouth)]
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        script = f'exec 3<&{high[0]} 4>&{high[1]} && exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "-", *command], pass_fds=high, stderr=subprocess.DEVNULL
        )
        for end in (ears, mouth, *high):
            os.close(end)
        self._left, self._number, self.errors = b"", 0, []
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, address, width=1280, height=900):
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self._ask("Page.navigate", url=str(address))
        self.wait("document.readyState === 'complete'")

    def value(self, script):
        """What an expression of JavaScript gives."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script, seconds=60):
        """Until an expression holds."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.02)

    def click(self, selector):
        """Presses the mouse in the middle of an element."""
        script = f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
        x, y = self.value(
            f"{script} const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path):
        """The whole page as a PNG file."""
        data = self._ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _ask(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def _message(self):
        while b"\0" not in self._left:
            assert select.select([self._from], [], [], 60)[0], "the browser does not answer"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._left += data
        text, _, self._left = self._left.partition(b"\0")
        found = json.loads(text)
        if found.get("method") == "Runtime.exceptionThrown":
            self.errors.append(found["params"]["exceptionDetails"])
        if found.get("method") == "Log.entryAdded" and found["params"]["entry"]["level"] in ("error", "warning"):
            self.errors.append(found["params"]["entry"])
        return found
