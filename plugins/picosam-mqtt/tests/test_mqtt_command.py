"""decode and tail: as a verb of picosam, as a command of its own, and without the SDK."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from picosam_mqtt import command
from picosam_mqtt.broker import DemoBroker
from picosam_mqtt.command import main
from picosam_mqtt.decode import decode
from picosam_mqtt.drawing import draw, png
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.report import Report, Sequences
from picosam_mqtt.signing import Verifier, sign
from PIL import Image

from picosam_sdk import Context, Frame, Mask, Roi
from picosam_sdk.cli.main import main as picosam
from picosam_sdk.config import from_mapping
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.testing.contract import CommandContract
from picosam_sdk.testing.results import a_result

KEY = "a key of more than sixteen bytes"
MASK, AVAILABILITY = "picosam/desk/mask", "picosam/desk/availability"
# What runs picosam-mqtt in an interpreter that finds neither the SDK nor what the SDK needs.
ALONE = """
import signal, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("picosam_sdk", "cv2", "onnxruntime", "pluggy", "PIL"):
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocker())
# Ctrl-C is ignored by what was started from a script's background job, and by its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from picosam_mqtt.command import main
sys.exit(main())
"""


class TestVerb(CommandContract):
    command = command


def _message(seq: int = 0, mask: bool = True, **changes: Any) -> dict[str, Any]:
    bits = np.zeros((96, 96), bool)
    bits[24:72, 24:72] = True
    seen = Mask.from_bits(bits, Roi(0.25, 0.25, 0.5, 0.5), score=0.75, size_px=(640, 480))
    result = Result(Frame(None, time.monotonic_ns()), seen if mask else None, None)
    return {**encode_result(result, device="desk", session="s", seq=seq), **changes}


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A file with numbers 0, 1, 3, 3, one message a line."""
    path = tmp_path / "masks.jsonl"
    path.write_text("".join(json.dumps(_message(seq)) + "\n" for seq in (0, 1, 3, 3)))
    return path


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
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(_message(0), indent=2) + "\n\n" + json.dumps(_message(1)) + "\n"
    _stdin(monkeypatch, text + json.dumps(_message(2), indent=0))
    assert main(["decode", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_decode_goes_on_after_what_is_malformed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        '{"v": 1,', "noise", '{"v": 2}', json.dumps(_message(1, device="a\x1b[2J")), "[]",
        json.dumps(_message(2, region="x" * 70_000)),
    ]  # fmt: skip
    _stdin(monkeypatch, "\n".join([*wrong, json.dumps(_message(5))]))
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


def test_names_of_files_stay_in_their_folder(tmp_path: Path) -> None:
    report = Report(save_dir=tmp_path / "pngs", out=io.StringIO())
    message = _message(0, device="../../evil", session="/" * 100)
    assert report.message(json.dumps(message).encode())
    (saved,) = tmp_path.rglob("*.png")
    assert saved.parent == tmp_path / "pngs"


def test_decode_checks_signatures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    signed = [json.dumps(sign(_message(seq), KEY.encode())) for seq in (0, 1)]
    forged = signed[1].replace("0.75", "0.99")
    _stdin(monkeypatch, "\n".join([*signed, signed[0], forged, json.dumps(_message(2))]))
    assert main(["decode", "-", "--key", f"file:{key}"]) == 1
    output = capsys.readouterr()
    assert [line.partition("  ! ")[2] for line in output.out.splitlines()] == ["", "", "duplicate"]
    assert re.findall(r"refused: (\w+)", output.err) == ["forged", "unsigned"]


def test_decode_refuses_what_is_signed_but_old(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MASK_KEY", KEY)
    old = _message(0, timestamp_ns=time.time_ns() - 60 * 10**9)
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


def test_gaps_duplicates_late_ones_and_restarts() -> None:
    sequences = Sequences()

    def notes(seq: int, **changes: Any) -> list[str]:
        return sequences.notes(decode(json.dumps(_message(seq, **changes))))

    assert notes(5) == []  # the first is where we came in
    assert notes(6) == []
    assert notes(9) == ["gap: 2 lost"]
    assert notes(7) == ["late"]
    assert notes(7) == ["duplicate"]
    assert notes(4, device="other") == []
    assert notes(10) == []
    assert notes(0, session="next") == ["new session: the device was started again"]
    assert (sequences.lost, sequences.duplicates) == (1, 1)


def test_a_line_of_a_message_without_a_mask_and_of_an_empty_one() -> None:
    out = io.StringIO()
    report = Report(out=out)
    empty = Mask.from_bits(np.zeros((8, 8), bool), Roi(0, 0, 1, 1), score=0.5)
    for message in (
        _message(0, mask=False, settling=True, region="shelf"),
        encode_result(Result(Frame(None, 0), empty, None), device="desk", session="s", seq=1),
        _message(2, timestamp_ns=10**30),
    ):
        assert report.message(json.dumps(message).encode(), retained=True)
    first, second, third = out.getvalue().splitlines()
    assert "desk #0 [shelf] no mask settling  ! retained" in first
    assert "desk #1 no object" in second
    assert "desk #2 score" in third


def test_a_replay_is_a_duplicate_to_who_verifies() -> None:
    report = Report(out=io.StringIO(), err=io.StringIO(), verifier=Verifier(KEY.encode()))
    message = json.dumps(sign(_message(0), KEY.encode())).encode()
    assert report.message(message)
    assert report.message(message)
    assert report.summary() == "2 messages, 0 lost, 1 duplicates, 0 refused"


def test_a_drawing_shows_the_object_where_it_is() -> None:
    mask = decode(json.dumps(_message()))
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


# tail


class Tail:
    """A running ``picosam-mqtt tail`` without the SDK, and what it has said."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ALONE, "tail", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
        )
        self._readers = [_Reader(self.process.stdout), _Reader(self.process.stderr)]
        self.out, self.err = (reader.lines for reader in self._readers)

    def end(self, how: signal.Signals | None = None) -> int:
        if how is not None:
            self.process.send_signal(how)
        code = self.process.wait(10)
        for reader in self._readers:
            reader.join()
        return code


class _Reader:
    def __init__(self, stream: Any) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            self.lines.append(line.rstrip("\n"))


@pytest.fixture
def start_tail(wait_until: Any) -> Iterator[Callable[..., Tail]]:
    """Starts one, and waits until it reads."""
    started: list[Tail] = []

    def start(*words: str, env: dict[str, str] | None = None) -> Tail:
        tail = Tail(*words, env=env)
        started.append(tail)
        wait_until(lambda: any("reading" in line for line in tail.err) or tail.process.poll())
        return tail

    yield start
    for tail in started:
        if tail.process.poll() is None:
            tail.process.kill()
        tail.end()


def test_tail_follows_masks_and_availability(
    broker: Any, listen: Any, start_tail: Any, wait_until: Any
) -> None:
    sender = listen(broker.port, "nothing")
    sender.publish(AVAILABILITY, b"online", retain=True)
    sender.publish(MASK, json.dumps(_message(0)), retain=True)
    tail = start_tail("--host", broker.host, "--port", str(broker.port), "--draw")
    for seq in (1, 4, 4):
        sender.publish(MASK, json.dumps(_message(seq)))
    sender.publish(MASK, b"\xffnoise")
    sender.publish("picosam/desk/state", b"{}")
    sender.publish(AVAILABILITY, b"offline", retain=True)
    wait_until(lambda: any("desk is offline" in line for line in tail.out))
    said = [line for line in tail.out if "#" in line or " is " in line]
    assert len(said) == 6
    assert sorted("retained" in line or "is online" in line for line in said[:2]) == [True, True]
    assert "gap: 2 lost" in said[3]
    assert "duplicate" in said[4]
    assert any("\u2588" in line for line in tail.out)
    assert any(f"{MASK}: refused" in line for line in tail.err)
    assert tail.end(signal.SIGINT) == 130
    assert tail.err[-2:] == [
        "4 messages, 2 lost, 1 duplicates, 1 refused", "picosam-mqtt: interrupted",
    ]  # fmt: skip
    assert not any("Traceback" in line for line in tail.err)


def test_tail_ends_by_count_and_is_json(broker: Any, listen: Any, start_tail: Any) -> None:
    sender = listen(broker.port, "nothing")
    tail = start_tail(
        "--host", broker.host, "--port", str(broker.port), "--json", "--count", "2",
        "--device", "desk", "--qos", "1", "--mqtt", "5",
    )  # fmt: skip
    sender.publish("picosam/other/mask", json.dumps(_message(0, device="other")))
    sender.publish(AVAILABILITY, b"online")
    for seq in (0, 1):
        sender.publish(MASK, json.dumps(_message(seq)))
    assert tail.end() == 0
    said = [json.loads(line) for line in tail.out]
    assert said[0] == {"device": "desk", "availability": "online"}
    assert [one["seq"] for one in said[1:]] == [0, 1]


def test_tail_checks_signatures(broker: Any, listen: Any, start_tail: Any, wait_until: Any) -> None:
    sender = listen(broker.port, "nothing")
    words = ("--host", broker.host, "--port", str(broker.port), "--key", "env:MASK_KEY")
    tail = start_tail(*words, "--count", "1", env={"MASK_KEY": KEY})
    sender.publish(MASK, json.dumps(_message(0)))
    wait_until(lambda: any("refused: unsigned" in line for line in tail.err))
    sender.publish(MASK, json.dumps(sign(_message(1), KEY.encode())))
    assert tail.end() == 0
    assert [line.split()[2] for line in tail.out] == ["#1"]


def test_tail_comes_back_after_a_loss(
    broker: Any, listen: Any, start_tail: Any, wait_until: Any
) -> None:
    tail = start_tail("--host", broker.host, "--port", str(broker.port), "--count", "1")
    broker.kill()
    wait_until(lambda: any("connection lost" in line for line in tail.err))
    broker.start()
    wait_until(lambda: "connected again" in tail.err)
    listen(broker.port, "nothing").publish(MASK, json.dumps(_message(0)))
    assert tail.end() == 0


def test_tail_ends_after_silence(broker: Any, start_tail: Any) -> None:
    words = ("--host", broker.host, "--port", str(broker.port), "--timeout", "0.2")
    assert start_tail(*words).end() == 1


def test_tail_says_why_it_may_not_read(
    make_broker: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = make_broker(users={"me": "secret"}, acl="user me\ntopic read other/#\n")
    words = ["tail", "--host", broker.host, "--port", str(broker.port), "--username", "me"]
    monkeypatch.setenv("PASSWORD", "wrong")
    assert main([*words, "--password", "env:PASSWORD"]) == 1
    error = capsys.readouterr().err
    assert "to let us in" in error
    assert "wrong" not in error


def test_tail_over_tls_with_a_certificate(
    make_broker: Any, ca: Any, tmp_path: Path, listen: Any, start_tail: Any
) -> None:
    broker = make_broker(tls=ca, require_certificate=True)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = ca.issue_cert("me")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    words = ["--host", broker.host, "--port", str(broker.port), "--ca", str(tmp_path / "ca.pem")]
    tail = start_tail(*words, "--cert", str(tmp_path / "me.pem"), "--timeout", "0.1")
    assert tail.end() == 1
    assert any("no message" in line for line in tail.err)


def test_tail_over_websockets(make_broker: Any, start_tail: Any) -> None:
    broker = make_broker(websockets=True)
    words = ["--host", broker.host, "--port", str(broker.port), "--websockets"]
    assert any("no message" in line for line in _ended(start_tail(*words, "--timeout", "0.1")))


def _ended(tail: Tail) -> list[str]:
    tail.end()
    return tail.err


@pytest.fixture
def publish() -> Iterator[Callable[..., None]]:
    """Publishes three results with the real publisher: ``publish(port, key=...)``."""
    publishers: list[MqttPublisher] = []

    def three(port: int, **options: Any) -> None:
        table = {"host": "127.0.0.1", "port": port, "rate_hz": 0, "changes_only": False, **options}
        config = from_mapping(table, MqttPublisherConfig)
        publisher = MqttPublisher(config, Context(device="desk", session="s"))
        publishers.append(publisher)
        publisher.open()
        for index in range(3):
            publisher.publish(a_result(index))
        assert publisher.flush(10)

    yield three
    for publisher in publishers:
        publisher.close()


def test_tail_reads_what_the_publisher_signs(
    broker: Any, start_tail: Any, publish: Any, tmp_path: Path
) -> None:
    words = ("--host", broker.host, "--port", str(broker.port), "--key", "env:MASK_KEY")
    tail = start_tail(*words, "--qos", "1", "--count", "3", env={"MASK_KEY": KEY})
    publish(broker.port, key=KEY, spool={"path": str(tmp_path / "spool")})
    assert tail.end() == 0
    assert [re.findall(r"#(\d) score .*[^!]{9}$", line) for line in tail.out[-3:]] == [
        ["0"], ["1"], ["2"],
    ]  # fmt: skip
    assert tail.err[-1] == "3 messages, 0 lost, 0 duplicates, 0 refused"


def test_the_first_run_needs_no_broker_to_be_installed(
    start_tail: Any, publish: Any, tmp_path: Path
) -> None:
    with DemoBroker() as demo:
        tail = start_tail("--host", demo.host, "--port", str(demo.port), "--count", "3")
        publish(demo.port, spool={"path": str(tmp_path / "spool")})
        assert tail.end() == 0
        assert any("desk is online" in line for line in tail.out)


def test_it_is_a_verb_of_picosam(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert picosam(["mqtt", "decode", str(masks)]) == 0
    assert "desk #3" in capsys.readouterr().out
    assert picosam(["mqtt", "decode", "no/such/file"]) == 1
    assert capsys.readouterr().err.startswith("picosam mqtt: expected a file")


def test_decode_works_where_the_sdk_is_not_installed(masks: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", ALONE, "decode", masks, "--draw"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "desk #3" in done.stdout


def test_the_script_is_installed_and_a_closed_pipe_is_no_error(masks: Path) -> None:
    script = Path(sys.executable).with_name("picosam-mqtt")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{script}' decode '{masks}' --draw | head -n 1"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "desk #0" in done.stdout
