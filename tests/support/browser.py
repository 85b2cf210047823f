"""A headless Chromium, driven over its DevTools protocol by a pair of pipes."""

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes to 4.
AS_3_AND_4 = """
import os, sys
commands, replies, *program = sys.argv[1:]
os.dup2(int(replies), 1000)
os.dup2(int(commands), 3)
os.dup2(1000, 4)
os.execv(program[0], program)
"""
LOWEST_CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const ratios = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [a, b] = [rgb(getComputedStyle(element).color), behind(element)]
      .map((colour) => light(colour) + 0.05);
    ratios.push(Math.max(a, b) / Math.min(a, b));
  }
  return [Math.min(...ratios), ratios.length];
})()"""
PATIENCE_S = 300  # for a machine that is busy with other work


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of a Chromium.

    Args:
        program: The Chromium.
        profile: An empty folder for it.
        flags: What it gets beside `FLAGS`.

    Attributes:
        errors: What was an error in the console, and what the page threw.
        requests: The URLs it asked for.
    """

    def __init__(self, program: str, profile: Path, flags=()):
        command_read, self._commands = os.pipe()
        self._replies, reply_write = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", AS_3_AND_4, str(command_read)),
                *(str(reply_write), program, *FLAGS, *flags),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(command_read, reply_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(reply_write)
        self._answers, self._events, self._count = queue.Queue(), queue.Queue(), 0
        self.errors, self.requests, self._session = [], [], None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = (t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Returns the answer to one command."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self._answers.get(timeout=PATIENCE_S)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url: str, width: int = 1280, height: int = 800, phone=False) -> None:
        """Opens a page and waits until it and its pictures are loaded."""
        self.errors.clear()
        self.requests.clear()
        self.resize(width, height, phone)
        while not self._events.empty():
            self._events.get()
        self.call("Page.navigate", url=url)
        self._events.get(timeout=PATIENCE_S)

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def run(self, script: str):
        """Returns the value of a JavaScript expression; awaits a promise."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true, in a page that may reload."""
        script = (
            "new Promise(done => { const timer = setInterval(() => "
            f"{{ if ({condition}) {{ clearInterval(timer); done(); }} }}, 50) }})"
        )
        try:
            self.run(script)
        except RuntimeError as error:
            if "navigated" not in str(error):
                raise
            self.run(script)

    def linked(self, selector: str) -> bytes:
        """Returns the file behind a link."""
        return base64.b64decode(
            self.run(
                f"fetch(document.querySelector('{selector}').href)"
                ".then(r => r.arrayBuffer()).then(b => btoa(Array.from("
                "new Uint8Array(b), c => String.fromCharCode(c)).join('')))"
            )
        )

    def choose_file(self, selector: str, file: Path) -> None:
        """Chooses a file in an `<input type=file>`."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node["nodeId"])

    def drop_file(self, selector: str, file: Path) -> None:
        """Drops a file on the middle of an element, as a person would."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector('{selector}');"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press(self, key: str, code: int) -> None:
        """Presses a key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
            )

    def touch(self, *points: tuple[float, float]) -> None:
        """Puts a finger down on the first point, moves it to the others, lifts it."""
        for kind, point in zip(
            ("touchStart", *("touchMove" for _ in points[1:])), points, strict=True
        ):
            at = [{"x": point[0], "y": point[1]}]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=at)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def contrast(self, scheme: str) -> tuple[float, int, str]:
        """Returns the lowest contrast of text in the light or the dark scheme.

        With it come how many texts are seen, and the colour of the page.
        """
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        lowest, texts = self.run(LOWEST_CONTRAST)
        background = self.run("getComputedStyle(document.body).backgroundColor")
        self.call("Emulation.setEmulatedMedia", features=[])
        return lowest, texts, background

    def screenshot(self, file: Path) -> None:
        """Writes the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self._process.wait()
        self._reader.join()
        os.close(self._commands)
        os.close(self._replies)

    def _read(self):
        rest = b""
        while chunk := os.read(self._replies, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in messages:
                self._sort(json.loads(message))

    def _sort(self, message):
        if "id" in message:
            self._answers.put(message)
            return
        event, parameters = message["method"], message["params"]
        if event == "Page.loadEventFired":
            self._events.put(event)
        elif event == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", details).get("description"))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            entry = parameters["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url')}")
        elif event == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            texts = (a.get("value", a.get("description")) for a in parameters["args"])
            self.errors.append(" ".join(map(str, texts)))
