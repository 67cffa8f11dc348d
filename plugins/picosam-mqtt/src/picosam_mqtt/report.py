"""What ``decode`` and ``tail`` say about each message: a line, a picture, JSON, a file.

Names come from strangers: what a terminal would obey is replaced before it is printed.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from picosam_mqtt.decode import DecodedMask, DecodeError, decode, read_json
from picosam_mqtt.drawing import draw, png
from picosam_mqtt.signing import SignatureError, Verifier

__all__ = ["Report", "Sequences"]

_SEEN = 1024
_DEVICES = 1024


class Sequences:
    """Finds gaps and duplicates in the numbers of each device's messages."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[str, int, set[int]]] = OrderedDict()
        self.lost = 0
        self.duplicates = 0

    def notes(self, mask: DecodedMask) -> list[str]:
        """What there is to say about the next message; nothing if it follows the one before."""
        session, newest, seen = self._sessions.get(mask.device, ("", -1, set()))
        notes = []
        if session != mask.session:
            notes = ["new session: the device was started again"] if session else []
            newest, seen = mask.seq, set()
        elif mask.seq in seen:
            self.duplicates += 1
            notes = ["duplicate"]
        elif mask.seq < newest:
            notes = ["late"]
            self.lost = max(0, self.lost - 1)
        elif mask.seq > newest + 1:
            gap = mask.seq - newest - 1
            self.lost += gap
            notes = [f"gap: {gap} lost"]
        newest = max(newest, mask.seq)
        seen = {seq for seq in seen if seq > newest - _SEEN} | {mask.seq}
        self._sessions[mask.device] = (mask.session, newest, seen)
        self._sessions.move_to_end(mask.device)
        if len(self._sessions) > _DEVICES:
            self._sessions.popitem(last=False)
        return notes


@dataclass
class Report:
    """Reads messages and says what is in them.

    Args:
        as_json: one JSON object a message instead of a line for people.
        picture: also draw the mask.
        save_dir: where each mask goes as a PNG; made if it is not there.
        size_px: of that PNG; the frame's if None.
        verifier: refuses what is not signed as it should be; None takes everything.
        out, err: None for the process's own.
    """

    as_json: bool = False
    picture: bool = False
    save_dir: Path | None = None
    size_px: tuple[int, int] | None = None
    verifier: Verifier | None = None
    out: TextIO | None = None
    err: TextIO | None = None
    masks: int = 0
    refused: int = 0
    sequences: Sequences = field(default_factory=Sequences)

    def message(self, payload: bytes, where: str = "", retained: bool = False) -> bool:
        """Reports one message; False if it was malformed or refused.

        Args:
            where: what to call it in an error: a topic, or a line of a file.
            retained: whether the broker had kept it; it may be old.
        """
        try:
            mask = decode(payload)
            notes = self._verified(payload) or self.sequences.notes(mask)
        except (DecodeError, SignatureError) as error:
            self.refused += 1
            reason = f"{error.reason}: " if isinstance(error, SignatureError) else ""
            self.problem(f"{where + ': ' if where else ''}refused: {reason}{error}")
            return False
        self.masks += 1
        notes += ["retained"] if retained else []
        if self.as_json:
            self._print(json.dumps(_facts(mask, notes)))
        else:
            self._print(_line(mask, notes))
        if self.picture:
            self._draw(mask)
        if self.save_dir is not None:
            self._save(mask, self.save_dir)
        return True

    def availability(self, device: str, online: bool) -> None:
        """Reports that a device came, or went: said goodbye, or had its will sent."""
        word = "online" if online else "offline"
        if self.as_json:
            self._print(json.dumps({"device": device, "availability": word}))
        else:
            self._print(f"{datetime.now().astimezone():%H:%M:%S}     {_clean(device)} is {word}")

    def problem(self, text: str) -> None:
        """Says something beside the results."""
        print(_clean(text, 300), file=self.err or sys.stderr, flush=True)

    def summary(self) -> str:
        sequences = self.sequences
        return (
            f"{self.masks} messages, {sequences.lost} lost, {sequences.duplicates} duplicates, "
            f"{self.refused} refused"
        )

    def _verified(self, payload: bytes) -> list[str]:
        if self.verifier is None:
            return []
        try:
            self.verifier.verify(read_json(payload))
        except SignatureError as error:
            if error.reason != "replayed":
                raise
            self.sequences.duplicates += 1
            return ["duplicate"]
        return []

    def _draw(self, mask: DecodedMask) -> None:
        out = self.out or sys.stdout
        columns = min(shutil.get_terminal_size((64, 24)).columns, 96)
        try:
            "\u2588\u2580\u00b7".encode(out.encoding or "ascii")
        except UnicodeEncodeError:
            plain = True
        else:
            plain = False
        self._print("\n".join(draw(mask, columns, plain)))

    def _save(self, mask: DecodedMask, folder: Path) -> None:
        if mask.bits is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        parts = (re.sub(r"[^A-Za-z0-9_-]", "_", part)[:64] for part in (mask.device, mask.session))
        path = folder / f"{'-'.join(parts)}-{mask.seq:08d}.png"
        path.write_bytes(png(mask.paste(*(self.size_px or ()))))

    def _print(self, text: str) -> None:
        print(text, file=self.out or sys.stdout, flush=True)


def _line(mask: DecodedMask, notes: list[str]) -> str:
    when = datetime.fromtimestamp(_seconds(mask)).astimezone()
    words = [f"{when:%H:%M:%S}.{when.microsecond // 1000:03d} {_clean(mask.device)} #{mask.seq}"]
    if mask.region:
        words.append(f"[{_clean(mask.region)}]")
    if mask.size_px is None or mask.bbox is None:
        words.append("no mask" if mask.bits is None else "no object")
    else:
        x, y, width, height = mask.bbox
        share = (mask.area_px or 0) / (mask.size_px[0] * mask.size_px[1])
        words.append(f"score {mask.score:.2f} area {share:.1%} box {x},{y} {width}x{height}")
        words.append(f"of {mask.size_px[0]}x{mask.size_px[1]}")
    if mask.settling:
        words.append("settling")
    return " ".join(words) + "".join(f"  ! {note}" for note in notes)


def _facts(mask: DecodedMask, notes: list[str]) -> dict[str, Any]:
    names = (
        "device", "session", "seq", "frame", "timestamp_ns", "region", "settling", "score", "bbox",
        "area_px", "size_px", "roi", "prompt", "ages_ms", "gaze",
    )  # fmt: skip
    facts = {name: getattr(mask, name) for name in names}
    return {**facts, "present": mask.present, "notes": notes}


def _seconds(mask: DecodedMask) -> float:
    """Within what a date can hold: a stranger may send any number."""
    return min(max(mask.timestamp_ns / 1e9, 0.0), 4e9)


def _clean(text: str, length: int = 80) -> str:
    """Without control characters, and not endless."""
    shown = text if len(text) <= length else text[: length - 1] + "\u2026"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in shown)
