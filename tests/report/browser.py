"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser that ends with the context.

    Attributes:
      complaints: errors of the page so far.
      requested: addresses it asked for so far, data URIs left out.
    """

    def __init__(self, executable: str, folder: Path):
        """Starts it with its profile in `folder`."""
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._number = 0
        # Without a sandbox, because tests may run as root in a container.
        command = [executable, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"]
        command += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            self._socket = connect(self._address(), max_size=None, open_timeout=60)
            self._session = None
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()

    def open(self, page: Path) -> None:
        """Returns when it is loaded."""
        self._call("Page.navigate", url=page.resolve().as_uri())
        self.run(
            "new Promise((done) => document.readyState === 'complete' && location.href !== "
            "'about:blank' ? done() : addEventListener('load', done))"
        )

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited.

        Raises:
          RuntimeError: it threw.
        """
        flags = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self._call("Runtime.evaluate", expression=script, **flags)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until a JavaScript expression is true.

        Raises:
          TimeoutError: that took longer than 30 s.
        """
        waited = self.run(
            f"new Promise(async (done) => {{ for (let i = 0; i < 600 && !({condition}); i++) "
            f"await new Promise((next) => setTimeout(next, 50)); done(Boolean({condition})); }})"
        )
        if not waited:
            raise TimeoutError(condition)

    def screenshot(self) -> bytes:
        """What the window shows, PNG."""
        answer = self._call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    def _address(self) -> str:
        for line in self._process.stderr:
            if match := re.search(r"DevTools listening on (ws://\S+)", line):
                return match[1]
        raise RuntimeError("the browser ended at once")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        name, found = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.complaints.append(str(found["exceptionDetails"]))
        elif name == "Runtime.consoleAPICalled" and found["type"] == "error":
            self.complaints.append(str(found["args"]))
        elif name == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.complaints.append(str(found["entry"]))
        elif name == "Network.requestWillBeSent":
            url = found["request"]["url"]
            if not url.startswith("data:"):
                self.requested.append(url)
