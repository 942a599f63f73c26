"""A real browser, driven over a pipe by the protocol of its own developer tools: what it shows is what people see."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the smallest, starts fastest, and needs no libraries of a desktop."""
NO_BROWSER = "no Chromium is installed (Debian package chromium-headless-shell)"
PATIENCE_S = 60.0
"""For a browser to start, or a page to load, on a machine that does other work too."""
SIZE = (1280, 860)


def find_browser() -> str | None:
    """Return the path of a Chromium, None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One headless Chromium with one page. To be used as a context."""

    def __init__(self, program: str, profile: Path) -> None:
        to_it, ours = os.pipe()
        theirs, from_it = os.pipe()

        def pipes() -> None:  # the browser reads on 3 and writes on 4
            a, b = os.dup2(to_it, 10), os.dup2(from_it, 11)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-sandbox",
                "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--force-color-profile=srgb", f"--window-size={SIZE[0]},{SIZE[1]}", "about:blank",
            ],
            preexec_fn=pipes, pass_fds=(3, 4), close_fds=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        self._write, self._read = ours, theirs
        self._buffer = b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        """What the browser said unasked: requests, messages of the page, violations of its policy."""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # a group of its own, of this test alone
            self._process.wait()

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method and return its result; raises `RuntimeError` for an error, `TimeoutError`."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if getattr(self, "_session", None) and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._next(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self, deadline: float) -> dict[str, Any]:
        """Return the next message; events are kept."""
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self._buffer += part
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message

    def wait_for(self, method: str, since: int) -> None:
        """Wait until the browser has said so, after its event number ``since``."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(event["method"] == method for event in self.events[since:]):
            self._next(deadline)

    def forget(self) -> None:
        """Forget cookies and events, as a browser that was just started."""
        self.go("about:blank")
        self.call("Network.clearBrowserCookies")
        self.events.clear()

    def go(self, url: str) -> None:
        """Load a page, to its end."""
        since = len(self.events)
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired", since)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def submit(self, script: str) -> None:
        """Run what leaves the page by a form or a link, and wait for the next page."""
        since = len(self.events)
        self.run(script)
        self.wait_for("Page.loadEventFired", since)

    def until(self, script: str) -> None:
        """Wait until an expression holds in the page."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(script):
            if time.monotonic() > deadline:
                raise TimeoutError(script)
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """Write what is seen to a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def urls(self) -> list[str]:
        """Return every address that the browser asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Return what the browser found wrong: errors of scripts, violations of the policy."""
        found = []
        for event in self.events:
            text = json.dumps(event["params"])
            error = event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error"
            policy = event["method"] == "Audits.issueAdded" and "ContentSecurityPolicy" in text
            if error or policy or event["method"] in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
                found.append(text)
        return found
