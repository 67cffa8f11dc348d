"""What parses a stranger's bytes, each as a function that takes them.

A target raises nothing but what is documented, which :data:`REFUSALS` lists; anything else is a
bug, and so is a call that takes long or asks for much memory. ``scripts/fuzz.py`` and the tests
beside this file call them. A folder is given for those that read files.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picosam_gaze.calibration.files import load_calibration, read_lens
from picosam_gaze.calibration.pairs import read_pairs
from picosam_gaze.sources.inbox import Inbox
from picosam_gaze.sources.message import MessageConfig, MessageReader
from picosam_gaze.sources.recordings import load_gaze
from picosam_mqtt.decode import DecodeError, decode, read_json
from picosam_mqtt.orders import OrderError, read_gaze, read_order
from picosam_mqtt.signing import SignatureError, Verifier
from picosam_mqtt.spool import Spool
from picosam_web import state as web_state
from picosam_web.access import Access
from picosam_web.desk import Desk
from picosam_web.hub import Hub
from picosam_web.inputs import read_object
from picosam_web.settings import WebConfig
from picosam_web.site import make_site

from picosam_sdk import app, rle
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.errors import PicoSamError
from picosam_sdk.evaluation.annotations import read_dataset
from picosam_sdk.export.imx500_inspect import inspect_file
from picosam_sdk.export.imx500_memory import read_memory_report
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import Context
from picosam_sdk.modelcard import DEFAULT_MODEL, ModelCard, card_path
from picosam_sdk.payload import decode_mask
from picosam_sdk.plugins import Plugins
from picosam_sdk.recording import LINES, META, Recording
from picosam_sdk.rpk import read_rpk
from picosam_sdk.training.data import read_shards
from picosam_sdk.training.shards import count_photos, read_photos

__all__ = ["REFUSALS", "TARGETS", "Target"]

REFUSALS = (PicoSamError, DecodeError, OrderError, SignatureError)
"""What may come out of a parser: the SDK's errors, and those of picosam_mqtt's readers."""

Target = Callable[[bytes, Path], None]


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@contextmanager
def refusing() -> Iterator[None]:
    """Within it, a documented refusal is well."""
    try:
        yield
    except REFUSALS as error:
        if not str(error):
            raise AssertionError("expected a refusal that says why") from error


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Within it, a logger says nothing: it would say it thousands of times."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def image(data: bytes, folder: Path) -> None:
    with refusing():
        picture = load_image(written(folder, "image", data))
        assert picture.ndim == 3
        assert picture.shape[2] == 3


def rpk(data: bytes, folder: Path) -> None:
    path = written(folder, "network.rpk", data)
    with refusing():
        read_rpk(path)
    with refusing():
        inspect_file(path).lines()


def packed(data: bytes, folder: Path) -> None:
    with refusing():
        inspect_file(written(folder, "packerOut.zip", data)).lines()


def memory_report(data: bytes, folder: Path) -> None:
    with refusing():
        read_memory_report(written(folder, "report.json", data)).table()


def model_card(data: bytes, folder: Path) -> None:
    model = written(folder, "carded.onnx", b"no model")
    written(folder, "carded.json", data)
    with refusing():
        ModelCard.read(model)
    with refusing():
        ModelCard.from_json(data.decode("utf-8", "replace")).to_json()


def onnx(data: bytes, folder: Path) -> None:
    """A model whose card has the hash of the damaged file, so that onnxruntime sees it."""
    model = written(folder, "model.onnx", data)
    card = json.loads(card_path(DEFAULT_MODEL).read_bytes())
    card["sha256"] = hashlib.sha256(data).hexdigest()
    written(folder, "model.json", json.dumps(card).encode())
    with refusing():
        OnnxBackend(model).close()


def config(data: bytes, folder: Path) -> None:
    with refusing():
        app.make_parts(app.load(written(folder, "picosam.toml", data)), Plugins())


def gaze_csv(data: bytes, folder: Path) -> None:
    path = written(folder, "gaze.csv", data)
    with refusing():
        load_gaze(path, (1600, 1200)).samples()
    written(folder, "world_timestamps.csv", data)
    written(folder, "info.json", data)
    with refusing():
        load_gaze(path)


def gaze_lines(data: bytes, folder: Path) -> None:
    with refusing():
        load_gaze(written(folder, "masks.jsonl", data), (640, 480)).samples()


def gaze_datagram(data: bytes, folder: Path) -> None:
    for settings in (MessageConfig(), MessageConfig(clock="sender", units="pixels", t_unit="ns")):
        inbox = Inbox(4)
        reader = MessageReader(settings, (640, 480), inbox)
        for part in data.split(b"\n"):
            reader.read(part, 1_000_000_000)
        assert len(inbox.drain()) <= 4


def calibration(data: bytes, folder: Path) -> None:
    path = written(folder, "calibration.json", data)
    with refusing():
        load_calibration(path)
    with refusing():
        read_lens(path, (1600, 1200))


def pairs(data: bytes, folder: Path) -> None:
    path = written(folder, "pairs.csv", data)
    with refusing():
        assert read_pairs(path).scene.shape[1] == 2
    with refusing():
        read_pairs(path, (1600, 1200), (2028, 1520))


def order(data: bytes, folder: Path) -> None:
    with refusing():
        read_order(data, 0)
    with refusing():
        read_gaze(data, 0)
    with refusing():
        Verifier(b"k" * 16).verify(read_json(data))


def spool(data: bytes, folder: Path) -> None:
    """A file of messages that was damaged on the disk: it is moved aside, or read."""
    place = folder / "spool"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    with quiet("picosam_mqtt.spool"), refusing():
        held = Spool(written(place, "spool.sqlite", data))
        try:
            number = held.put("a/topic", b"payload")
            assert held.after(number - 1, 1)[0].payload == b"payload"
            held.after(0, 8)
            held.ack(number)
        finally:
            held.close()


def payload(data: bytes, folder: Path) -> None:
    with refusing():
        found = decode(data)
        found.paste(64, 48)
    try:
        message = read_json(data)
    except DecodeError:
        return
    with refusing():
        mask = decode_mask(message)
        if mask is not None and max(mask.size_px) < 2000:
            mask.paste()


def run_lengths(data: bytes, folder: Path) -> None:
    size, _, counts = data.partition(b"\n")
    values = [int(text) for text in size.split()[:2] if text.isdigit() and len(text) < 20]
    capped = [min(value, 4096) if index else value for index, value in enumerate(values)]
    with refusing():
        rle.decode({"size": capped, "counts": counts})
    with refusing():
        rle.decode({"size": capped, "counts": list(counts)})


def annotations(data: bytes, folder: Path) -> None:
    with refusing():
        dataset = read_dataset(written(folder, "instances.json", data), folder / "photos")
        for instance in dataset.instances[:8]:
            assert (folder / "photos").resolve() in instance.image.resolve().parents
            if max(instance.size_px) < 2000:
                instance.mask()


def shard(data: bytes, folder: Path) -> None:
    path = written(folder, "shard.tar", data)
    with refusing():
        count_photos([path])
    with refusing():
        for photo in read_photos([path]):
            photo.decode()
    with refusing():
        read_shards([path])


def recording(data: bytes, folder: Path) -> None:
    """The first line is meta.json, the others recording.jsonl."""
    meta, _, lines = data.partition(b"\n")
    written(folder, META, meta)
    written(folder, LINES, lines)
    with refusing():
        found = Recording(folder)
        for entry in found.entries[:16]:
            with refusing():
                result: Any = found.result(entry, 0)
                if result.mask is not None and max(result.mask.size_px) < 2000:
                    result.mask.paste()
    with refusing():
        load_gaze(folder)


def web_message(data: bytes, folder: Path) -> None:
    config = WebConfig(pointer=True)
    desk = Desk(config, Context("desk", "0123456789abcdef"), Counter())
    with refusing():
        message = read_object(data)
        with refusing():
            assert "note" in desk.prompt(message)
        desk.pointer(message.get("at"))


def web_request(data: bytes, folder: Path) -> None:
    """A request as a server hands it on: method and path, headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http", "method": method.decode("latin-1"), "query_string": query,
        "path": path.decode("utf-8", "replace"), "root_path": "", "scheme": "http",
        "headers": [(name.strip().lower(), value.strip())
                    for name, _, value in (line.partition(b":") for line in lines)],
    }  # fmt: skip
    for token in ("", "0123456789abcdef"):
        status, headers = asyncio.run(_answer(scope, body, token))
        assert 200 <= status < 500, status
        for name, value in headers:
            assert not {0, 10, 13} & set(name + value), "a header that ends early"


async def _answer(
    scope: dict[str, Any], body: bytes, token: str
) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The status and the headers that the page answers."""
    config, context, counts = WebConfig(), Context("desk", "0123456789abcdef"), Counter[str]()

    def told() -> dict[str, Any]:
        return web_state.describe(config, context, counts, 0)

    site = make_site(Access("127.0.0.1", ["desk"], token, 8000), Hub(1),
                     Desk(config, context, counts), told, counts)  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await site(dict(scope), receive, send)
    return sent[0]["status"], sent[0]["headers"]


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        image, rpk, packed, memory_report, model_card, onnx, config, gaze_csv, gaze_lines,
        gaze_datagram, calibration, pairs, order, spool, payload, run_lengths, annotations, shard,
        recording, web_message, web_request,
    )
}  # fmt: skip
"""By name; the corpus of each lies in ``corpus/<name>``."""
