"""decode, and what both verbs say: as a verb of picosam and as a command of its own."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from picosam_mqtt import command
from picosam_mqtt.command import main
from picosam_mqtt.decode import decode
from picosam_mqtt.drawing import draw, png
from picosam_mqtt.report import Report, Sequences
from picosam_mqtt.signing import Verifier, sign
from PIL import Image

from picosam_sdk import Frame, Mask, Roi
from picosam_sdk.cli.main import main as picosam
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.testing.contract import CommandContract

KEY = "a key of more than sixteen bytes"
Message = Callable[..., dict[str, Any]]


class TestVerb(CommandContract):
    command = command


def _stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


# decode


def test_decode_says_what_is_in_a_file(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(masks)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"desk #(\d+)", line)[0] for line in lines] == ["0", "1", "3", "3"]
    assert "score 0.75 area 6.2% box 240,180 160x120 of 640x480" in lines[0]
    assert [line.partition("  ! ")[2] for line in lines] == ["", "", "gap: 1 lost", "duplicate"]


def test_decode_as_json(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(masks), "--json"]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fact["notes"] for fact in facts] == [[], [], ["gap: 1 lost"], ["duplicate"]]
    assert facts[0]["present"]
    assert facts[0]["bbox"] == [240, 180, 160, 120]
    assert facts[0]["timestamp_ns"] == json.loads(masks.read_text().splitlines()[0])["timestamp_ns"]


def test_decode_reads_a_pipe_and_objects_over_several_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make_message: Message
) -> None:
    text = json.dumps(make_message(0), indent=2) + "\n\n" + json.dumps(make_message(1)) + "\n"
    _stdin(monkeypatch, text + json.dumps(make_message(2), indent=0))
    assert main(["decode", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_decode_goes_on_after_what_is_malformed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make_message: Message
) -> None:
    wrong = [
        '{"v": 1,', "noise", '{"v": 2}', json.dumps(make_message(1, device="a\x1b[2J")), "[]",
        json.dumps(make_message(2, region="x" * 70_000)),
    ]  # fmt: skip
    _stdin(monkeypatch, "\n".join([*wrong, json.dumps(make_message(5))]))
    assert main(["decode", "-"]) == 1
    output = capsys.readouterr()
    assert [line.split()[1] for line in output.out.splitlines()] == ["a\ufffd[2J", "desk"]
    assert "standard input:1: refused: expected a JSON object" in output.err
    assert "version 1, got 2" in output.err
    assert "at most 65536 bytes" in output.err
    assert "Traceback" not in output.err


def test_decode_draws_and_saves(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out" / "pngs"
    assert main(["decode", str(masks), "--draw", "--save", str(folder), "--size", "64x48"]) == 0
    assert "\u2588" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        f"desk-s-0000000{seq}.png" for seq in (0, 1, 3)
    ]
    expected = decode(masks.read_text().splitlines()[0]).paste(64, 48)
    saved = cv2.imread(str(folder / "desk-s-00000000.png"), cv2.IMREAD_GRAYSCALE)
    assert saved is not None
    assert np.array_equal(saved == 255, expected)


def test_names_of_files_stay_in_their_folder(tmp_path: Path, make_message: Message) -> None:
    report = Report(save_dir=tmp_path / "pngs", out=io.StringIO())
    message = make_message(0, device="../../evil", session="/" * 100)
    assert report.message(json.dumps(message).encode())
    (saved,) = tmp_path.rglob("*.png")
    assert saved.parent == tmp_path / "pngs"


def test_decode_checks_signatures(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_message: Message,
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    signed = [json.dumps(sign(make_message(seq), KEY.encode())) for seq in (0, 1)]
    forged = signed[1].replace("0.75", "0.99")
    _stdin(monkeypatch, "\n".join([*signed, signed[0], forged, json.dumps(make_message(2))]))
    assert main(["decode", "-", "--key", f"file:{key}"]) == 1
    output = capsys.readouterr()
    assert [line.partition("  ! ")[2] for line in output.out.splitlines()] == ["", "", "duplicate"]
    assert re.findall(r"refused: (\w+)", output.err) == ["forged", "unsigned"]


def test_decode_refuses_what_is_signed_but_old(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make_message: Message
) -> None:
    monkeypatch.setenv("MASK_KEY", KEY)
    old = make_message(0, timestamp_ns=time.time_ns() - 60 * 10**9)
    _stdin(monkeypatch, json.dumps(sign(old, KEY.encode())))
    assert main(["decode", "-", "--key", "env:MASK_KEY", "--window", "30"]) == 1
    assert "refused: late" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decode", "no/such/file"], "No such file"),
        (["decode", os.devnull], "expected a message"),
        (["decode", os.devnull, "--key", "env:NO_SUCH_NAME"], "NO_SUCH_NAME"),
        (["decode", os.devnull, "--key", "file:no/such/file"], "No such file"),
        (["decode", os.devnull, "--key", f"file:{os.devnull}"], "16 bytes"),
        (["decode", os.devnull, "--window", "5"], "--key"),
        (["tail", "--password", "env:HOME"], "--username"),
        (["tail", "--ca", os.devnull], "certificates"),
        (["tail", "--host", "127.0.0.1", "--port", "1"], "refused"),
        (["tail", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_failures_are_two_lines(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 2
    assert error.startswith("picosam-mqtt: ")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tail", "--port", "70000"],
        ["tail", "--device", "a/b"],
        ["tail", "--base", "a/#"],
        ["tail", "--count", "-1"],
        ["tail", "--timeout", "nan"],
        ["tail", "--password", "secret"],
        ["decode", "-", "--size", "0x5"],
        ["decode", "-", "--key", "env:"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "secret'" not in capsys.readouterr().err


def test_help_has_examples_whose_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    texts = {}
    for verb in ("", "decode", "tail"):
        with pytest.raises(SystemExit) as stop:
            main([*verb.split(), "--help"])
        assert stop.value.code == 0
        texts[verb] = capsys.readouterr().out
    for line in re.findall(r"picosam-mqtt (?:tail|decode) .*", texts[""]):
        verb, *rest = line.split()[1:]
        assert {word for word in rest if word.startswith("--")} <= set(texts[verb].split())


# What is said


def test_gaps_duplicates_late_ones_and_restarts(make_message: Message) -> None:
    sequences = Sequences()

    def notes(seq: int, **changes: Any) -> list[str]:
        return sequences.notes(decode(json.dumps(make_message(seq, **changes))))

    assert notes(5) == []  # the first is where we came in
    assert notes(6) == []
    assert notes(9) == ["gap: 2 lost"]
    assert notes(7) == ["late"]
    assert notes(7) == ["duplicate"]
    assert notes(4, device="other") == []
    assert notes(10) == []
    assert notes(0, session="next") == ["new session: the device was started again"]
    assert (sequences.lost, sequences.duplicates) == (1, 1)


def test_a_line_of_a_message_without_a_mask_and_of_an_empty_one(make_message: Message) -> None:
    out = io.StringIO()
    report = Report(out=out)
    empty = Mask.from_bits(np.zeros((8, 8), bool), Roi(0, 0, 1, 1), score=0.5)
    for message in (
        make_message(0, mask=False, settling=True, region="shelf"),
        encode_result(Result(Frame(None, 0), empty, None), device="desk", session="s", seq=1),
        make_message(2, timestamp_ns=10**30),
    ):
        assert report.message(json.dumps(message).encode(), retained=True)
    first, second, third = out.getvalue().splitlines()
    assert "desk #0 [shelf] no mask settling  ! retained" in first
    assert "desk #1 no object" in second
    assert "desk #2 score" in third


def test_a_replay_is_a_duplicate_to_who_verifies(make_message: Message) -> None:
    report = Report(out=io.StringIO(), err=io.StringIO(), verifier=Verifier(KEY.encode()))
    message = json.dumps(sign(make_message(0), KEY.encode())).encode()
    assert report.message(message)
    assert report.message(message)
    assert report.summary() == "2 messages, 0 lost, 1 duplicates, 0 refused"


def test_a_drawing_shows_the_object_where_it_is(make_message: Message) -> None:
    mask = decode(json.dumps(make_message()))
    for plain, letters in ((False, "\u2580\u2584\u2588"), (True, "#")):
        lines = draw(mask, 66, plain)
        assert len(lines) == 24 + 2
        assert {len(line) for line in lines[1:-1]} == {66}
        drawn = np.array([[letter in letters for letter in line[1:-1]] for line in lines[1:-1]])
        rows, columns = np.nonzero(drawn)
        assert (rows.min(), rows.max()) == (9, 14)  # 24 * 0.375 to 24 * 0.625 - 1
        assert (columns.min(), columns.max()) == (24, 39)
    assert all(letter.isascii() for letter in "".join(draw(mask, 40, True)))
    assert "\u00b7" in "".join(draw(mask, 40))


def test_a_png_is_read_by_others() -> None:
    rng = np.random.default_rng(1)
    for size in ((1, 1), (5, 9), (48, 64)):
        bits = rng.random(size) > 0.5
        picture = np.asarray(Image.open(io.BytesIO(png(bits))))
        assert np.array_equal(picture, bits)


def test_it_is_a_verb_of_picosam(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert picosam(["mqtt", "decode", str(masks)]) == 0
    assert "desk #3" in capsys.readouterr().out
    assert picosam(["mqtt", "decode", "no/such/file"]) == 1
    assert capsys.readouterr().err.startswith("picosam mqtt: expected a file")


def test_the_script_is_installed_and_a_closed_pipe_is_no_error(masks: Path) -> None:
    script = Path(sys.executable).with_name("picosam-mqtt")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{script}' decode '{masks}' --draw | head -n 1"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "desk #0" in done.stdout
