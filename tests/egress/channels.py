"""The ways by which bytes leave: each can be put into a pipeline, and tells what left by it.

A way that comes later is one more class here and one more line in :data:`CHANNELS`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from picosam_sdk import Publisher, Result, hookimpl

HOST = "127.0.0.1"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_LIMIT_S = 10.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


class Channel(ABC):
    """One way out.

    Args:
        folder: for files, its own.
    """

    pictures: ClassVar[bool] = True
    """Whether it carries pictures once they are granted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def tables(self, grants: list[str]) -> dict[str, Any]:
        """What it adds to the configuration: a list under "publish", or a table."""
        raise NotImplementedError

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """What must be there while the application runs."""
        yield

    def watch(self) -> None:  # noqa: B027 - most have nothing to do
        """Called again and again while it runs."""

    @abstractmethod
    def data(self) -> bytes:
        """All that left."""


class _Files(Channel):
    def data(self) -> bytes:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return b"\n".join(path.read_bytes() for path in files)


class JsonlFile(_Files):
    pictures = False

    def tables(self, grants: list[str]) -> dict[str, Any]:
        path = str(self.folder / "results.jsonl")
        return {"publish": [{"kind": "jsonl", "path": path, "egress": {"grants": grants}}]}


class Recording(_Files):
    """What ``picosam record`` writes."""

    def tables(self, grants: list[str]) -> dict[str, Any]:
        return {"publish": [{
            "kind": "record", "path": str(self.folder / "run"), "frames": "pixels" in grants,
            "egress": {"grants": grants},
        }]}  # fmt: skip


class AuditLog(_Files):
    pictures = False

    def tables(self, grants: list[str]) -> dict[str, Any]:
        return {"policy": {"audit_log": str(self.folder / "audit.jsonl")}}


class Metrics(Channel):
    """The Prometheus endpoint, read again and again."""

    pictures = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port, self._data = free_port(), b""

    def tables(self, grants: list[str]) -> dict[str, Any]:
        return {"metrics": {"port": self._port}}

    def watch(self) -> None:
        url = f"http://{HOST}:{self._port}/metrics"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            self._data += answer.read()

    def data(self) -> bytes:
        return self._data


class Mqtt(Channel):
    """The MQTT plugin with all that it can send, through a proxy that keeps every byte."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker_port, self._proxy = free_port(), Proxy()

    def tables(self, grants: list[str]) -> dict[str, Any]:
        pictures = [grant for grant in grants if grant != "gaze"]
        return {"publish": [{
            "kind": "mqtt", "host": HOST, "port": self._proxy.port, "qos": 1,
            "spool": {"path": str(self.folder / "spool.db")},
            "changes_only": False, "rate_hz": 0.0, "stats_s": 0.05, "silhouette": True,
            "homeassistant": {}, "image": pictures[0] if pictures else "",
            "egress": {"grants": grants},
        }]}  # fmt: skip

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        if MOSQUITTO is None:
            pytest.skip("needs mosquitto")
        config = self.folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"listener {self._broker_port} {HOST}\nallow_anonymous true\n{user}")
        with (self.folder / "log").open("wb") as log:
            broker = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
        try:
            _wait_for_port(self._broker_port)
            with self._proxy.running(self._broker_port):
                yield
        finally:
            broker.terminate()
            broker.wait(_LIMIT_S)

    def data(self) -> bytes:
        spool = b"".join(path.read_bytes() for path in self.folder.glob("spool.db*"))
        return bytes(self._proxy.data) + spool


class Web(Channel):
    """The web page: what a browser that stays open is sent, and the state that it asks for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port, self._data = free_port(), bytearray()
        self._reader: threading.Thread | None = None

    def tables(self, grants: list[str]) -> dict[str, Any]:
        return {"publish": [{
            "kind": "web", "port": self._port, "picture": "pixels" in grants,
            "max_rate_hz": 0.0, "egress": {"grants": grants},
        }]}  # fmt: skip

    def watch(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read)
            self._reader.start()
        url = f"http://{HOST}:{self._port}/api/state"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            self._data += answer.read()

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        _wait_for_port(self._port)
        with (
            contextlib.suppress(ConnectionClosed),
            connect(f"ws://{HOST}:{self._port}/ws", max_size=None) as page,
        ):
            for message in page:
                self._data += message.encode() if isinstance(message, str) else message

    def data(self) -> bytes:
        if self._reader is not None:
            self._reader.join(_LIMIT_S)
        return bytes(self._data)


class Blab(Channel):
    """A third party's publisher that sends all it can over TCP, in many forms."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sink = Proxy()

    def tables(self, grants: list[str]) -> dict[str, Any]:
        return {"publish": [
            {"kind": "blab", "port": self._sink.port, "form": form, "egress": {"grants": grants}}
            for form in ("everything", "jpeg", "bgr")
        ]}  # fmt: skip

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        with self._sink.running(None):
            yield

    def data(self) -> bytes:
        return bytes(self._sink.data)


CHANNELS: dict[str, type[Channel]] = {
    "jsonl": JsonlFile,
    "record": Recording,
    "mqtt": Mqtt,
    "web": Web,
    "blab": Blab,
    "metrics": Metrics,
    "audit": AuditLog,
}


class Proxy:
    """Keeps what goes to a port, and passes it on to another one, or to nobody."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.data = bytearray()

    @contextlib.contextmanager
    def running(self, target_port: int | None) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._run, args=(target_port, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._listener.close()

    def _run(self, target_port: int | None, ended: threading.Event) -> None:
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as sockets:
            selector.register(self._listener, selectors.EVENT_READ)
            ending, ready = False, []
            while ready or not ending:
                # Asked before selecting: so what was sent before the end is read.
                ending = ended.is_set()
                ready = selector.select(0.02)
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept(selector, sockets, target_port)
                    else:
                        self._pump(selector, key)

    def _accept(
        self,
        selector: selectors.BaseSelector,
        sockets: contextlib.ExitStack,
        target_port: int | None,
    ) -> None:
        near = sockets.enter_context(self._listener.accept()[0])
        far = None
        if target_port is not None:
            far = sockets.enter_context(socket.create_connection((HOST, target_port)))
            selector.register(far, selectors.EVENT_READ, (near, False))
        selector.register(near, selectors.EVENT_READ, (far, True))

    def _pump(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        other, leaves = key.data
        try:
            data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
            if other is not None and data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            selector.unregister(key.fileobj)
            with contextlib.suppress(OSError):
                if other is not None:
                    other.shutdown(socket.SHUT_WR)
        if leaves:
            self.data += data


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the broker did not start"
            time.sleep(0.02)


@dataclass(frozen=True)
class BlabConfig:
    """Where it sends, and in which form."""

    port: int
    form: Literal["everything", "jpeg", "bgr"] = "everything"


class BlabPublisher(Publisher):
    """Sends the picture, if it finds one; "everything": all that it was handed, pickled."""

    name: ClassVar[str] = "blab"
    Config: ClassVar[type] = BlabConfig

    @property
    def destination(self) -> str:
        return f"tcp://me:password@{HOST}:{self.config.port}"

    def publish(self, result: Result) -> int | None:
        import cv2

        image = result.frame.image
        if self.config.form == "everything":
            data = pickle.dumps((result, vars(result.mask) if result.mask else None, self.config))
        elif image is None:
            return None
        elif self.config.form == "jpeg":
            data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
        else:
            data = image[..., ::-1].tobytes()
        with socket.create_connection((HOST, self.config.port), timeout=5) as sock:
            sock.sendall(data)
        return len(data)


class BlabPlugin:
    """Offers it."""

    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [BlabPublisher]
