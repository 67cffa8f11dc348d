"""``picosam mqtt decode|tail``, and the same as ``picosam-mqtt`` where there is no SDK."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from picosam_mqtt.decode import MAX_BYTES, DecodeError, read_json
from picosam_mqtt.report import Report
from picosam_mqtt.signing import Verifier
from picosam_mqtt.tail import Broker, TailError, follow, tls_context

__all__ = ["add_parser", "main", "name"]

name = "mqtt"

_EXAMPLES = """examples:
  {prog} tail --host broker.local
  {prog} tail --host broker.local --tls --username me --password env:MQTT_PASSWORD --draw
  {prog} tail --device desk --json --count 10 > masks.jsonl
  {prog} decode message.json --draw
  mosquitto_sub -t 'picosam/+/mask' | {prog} decode - --save masks
"""


def add_parser(verbs: Any) -> None:
    """Adds ``mqtt`` to the verbs of the picosam command."""
    parser = verbs.add_parser(
        name,
        help="read masks that come over MQTT",
        description="Reads masks that come over MQTT.",
        epilog=_EXAMPLES.format(prog="picosam mqtt"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_verbs(parser, "picosam mqtt")


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``picosam-mqtt``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="picosam-mqtt",
        description="Reads masks that picosam devices send over MQTT. Needs numpy and paho-mqtt.",
        epilog=_EXAMPLES.format(prog="picosam-mqtt")
        + "\nexit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"picosam-mqtt {_version()}")
    _add_verbs(parser, "picosam-mqtt")
    args = parser.parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away, as 'head' does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("picosam-mqtt: interrupted", file=sys.stderr)
        return 130
    return code


def _add_verbs(parser: argparse.ArgumentParser, prog: str) -> None:
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    one = verbs.add_parser(
        "decode",
        help="say what is in messages of a file or of a pipe",
        description="Says what is in mask messages: of a file, or of standard input as they "
        "come. One JSON object after another. Exit code 1 if one was malformed or refused.",
        epilog="example: mosquitto_sub -t 'picosam/+/mask' | picosam-mqtt decode - --draw",
    )
    one.add_argument("file", metavar="FILE", help="the messages; - for standard input")
    _add_output(one)
    one.set_defaults(run=_guarded(_decode, prog))
    other = verbs.add_parser(
        "tail",
        help="follow the masks on a broker",
        description="Follows the masks and the availability of devices on a broker: one line a "
        "mask, with gaps and duplicates. Comes back after a loss of the connection.",
        epilog="example: picosam-mqtt tail --host broker.local --tls --username me "
        "--password env:MQTT_PASSWORD --draw",
    )
    _add_broker(other)
    _add_output(other)
    other.add_argument("--count", type=_count, default=0, metavar="N", help="end after N masks")
    other.add_argument(
        "--timeout", type=_seconds, default=0.0, metavar="S",
        help="end, with exit code 1, after S seconds without a message",
    )  # fmt: skip
    other.set_defaults(run=_guarded(_tail, prog))


def _add_broker(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("broker")
    group.add_argument("--host", default="localhost", help="name or address (%(default)s)")
    group.add_argument(
        "--port", type=_port, default=0, help="1883, with TLS 8883, WebSockets 80 and 443"
    )
    group.add_argument("--base", type=_topic, default="picosam", metavar="TOPIC",
                       help="topic above the devices' (%(default)s)")  # fmt: skip
    group.add_argument("--device", type=_level, metavar="NAME", help="only this one")
    group.add_argument("--qos", type=int, choices=(0, 1), default=0, help="of the subscription")
    group.add_argument("--username", default="")
    group.add_argument("--password", type=_source, metavar="SOURCE",
                       help="where it is: env:NAME or file:PATH")  # fmt: skip
    group.add_argument("--tls", action="store_true", help="encrypt, and verify the broker")
    group.add_argument("--ca", type=Path, metavar="PEM", help="trust these instead of the system's")
    group.add_argument("--cert", type=Path, metavar="PEM", help="certificate of our own")
    group.add_argument("--cert-key", type=Path, metavar="PEM", help="its key, if not in --cert")
    group.add_argument("--websockets", action="store_true", help="MQTT over WebSockets")
    group.add_argument("--path", default="/mqtt", help="of the WebSocket (%(default)s)")
    group.add_argument("--mqtt", choices=("3.1.1", "5"), default="3.1.1", help="version")
    group.add_argument("--client-id", default="", metavar="ID", help="made up if not given")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON object a message")
    group.add_argument("--draw", action="store_true", help="draw each mask on the terminal")
    group.add_argument("--save", type=Path, metavar="DIR", help="write each mask as a PNG")
    group.add_argument("--size", type=_size, metavar="WxH",
                       help="of the PNG, in pixels; the frame's if not given")  # fmt: skip
    group.add_argument("--key", type=_source, metavar="SOURCE",
                       help="refuse what is not signed with it: env:NAME or file:PATH")  # fmt: skip
    group.add_argument("--window", type=_seconds, default=0.0, metavar="S",
                       help="also refuse what is signed but older than S seconds")  # fmt: skip


def _guarded(run: Callable[[argparse.Namespace], int], prog: str) -> Any:
    """Errors in two lines, with the SDK's command and without it."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except TailError as error:
            print(f"{prog}:", " ".join(str(error).split()), file=sys.stderr)
            print(error.hint, file=sys.stderr)
            return 1

    return guarded


def _decode(args: argparse.Namespace) -> int:
    report = _report(args)
    where = "standard input" if args.file == "-" else args.file
    try:
        stream = sys.stdin.buffer if args.file == "-" else Path(args.file).open("rb")  # noqa: SIM115
    except OSError as error:
        raise TailError(
            f"expected a file at {where}, got: {error.strerror}", "Check it."
        ) from error
    try:
        results = [report.message(text, f"{where}:{line}") for line, text in _messages(stream)]
    finally:
        if args.file != "-":
            stream.close()
    if not results:
        raise TailError(f"expected a message in {where}, got none", "Check what wrote it.")
    return 0 if all(results) else 1


def _messages(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The JSON objects of a stream, each with the number of its first line, as they come.

    One may go over several lines; a line that begins with a brace begins the next.
    """
    pending, begun = b"", 0
    for number, line in enumerate(_lines(stream), 1):
        if pending and line.startswith(b"{"):
            yield begun, pending
            pending = b""
        if not pending:
            begun = number
        pending = (pending + line).lstrip()
        if pending and _complete(pending):
            yield begun, pending
            pending = b""
    if pending:
        yield begun, pending


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines; one without an end comes in pieces."""
    while line := stream.readline(MAX_BYTES + 2):
        yield line


def _complete(text: bytes) -> bool:
    if len(text) > MAX_BYTES:
        return True  # it will be refused
    try:
        read_json(text)
    except DecodeError:
        return False
    return True


def _tail(args: argparse.Namespace) -> int:
    if args.password is not None and not args.username:
        raise TailError("expected a --username for the --password, got none", "Give both.")
    tls = args.tls or args.ca is not None or args.cert is not None
    broker = Broker(
        host=args.host,
        port=args.port,
        websockets=args.websockets,
        path=args.path,
        tls=tls_context(args.ca, args.cert, args.cert_key) if tls else None,
        username=args.username,
        password=_reveal(args.password, "--password"),
        version=args.mqtt,
        client_id=args.client_id,
    )
    return follow(
        broker, args.base, args.device or "", _report(args),
        qos=args.qos, count=args.count, timeout_s=args.timeout,
    )  # fmt: skip


def _report(args: argparse.Namespace) -> Report:
    verifier = None
    if args.window and args.key is None:
        raise TailError("expected a --key for the --window, got none", "Give both.")
    if args.key is not None:
        try:
            verifier = Verifier(_reveal(args.key, "--key").encode(), args.window or math.inf)
        except ValueError as error:
            raise TailError(f"--key: {error}", "Give the key of the publisher.") from None
    return Report(args.json, args.draw, args.save, args.size, verifier)


def _reveal(source: tuple[str, str] | None, option: str) -> str:
    """The secret that a source names; "" for none."""
    if source is None:
        return ""
    kind, where = source
    try:
        if kind == "env":
            return os.environ[where]
        return Path(where).read_text("utf-8").removesuffix("\n")
    except KeyError:
        raise TailError(
            f"{option}: expected the environment variable {where}, which is not set",
            f"Set it: export {where}=...",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TailError(
            f"{option}: expected a secret in the file {where}, got: {error}",
            "Check the path and who may read it.",
        ) from None


def _source(text: str) -> tuple[str, str]:
    kind, _, where = text.partition(":")
    if kind not in ("env", "file") or not where:
        raise argparse.ArgumentTypeError("expected env:NAME or file:PATH, not the secret itself")
    return kind, where


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 16384 for side in sides):
        raise argparse.ArgumentTypeError(f"expected a size such as 640x480, got {text!r}")
    return int(sides[0]), int(sides[1])


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of masks, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")
    return value


def _topic(text: str) -> str:
    levels = text.split("/")
    if any(not level or ("+" in level and level != "+") or "#" in level for level in levels):
        raise argparse.ArgumentTypeError(f"expected a topic such as picosam, got {text!r}")
    return text


def _level(text: str) -> str:
    if not text or any(character in text for character in "/+#\0"):
        raise argparse.ArgumentTypeError(f"expected the name of a device, got {text!r}")
    return text


def _version() -> str:
    try:
        return version("picosam-mqtt")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
