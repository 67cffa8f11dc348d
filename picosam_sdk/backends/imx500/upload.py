"""Progress of a network's upload: to a callback, to a bar, and to whoever watches for a stall.

The upload happens inside ``Picamera2.start``, which blocks. A daemon thread reads how far it is,
so a stalled upload never keeps a program from ending. libcamera's Python module may hold the
interpreter for as long as it starts; then no thread runs, and the callback is told late. The
bar is therefore drawn by a process of its own (this module, run as a program), which ends when
the program that started it does.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["UploadWatch", "bar_process", "main", "progress_kind", "run_within"]

NETWORK_STAGE = 2
STAGES = (0, 1, NETWORK_STAGE)
INTERVAL_S = 0.25


def progress_kind(helper: Any) -> int:
    """How picamera2 reads the progress: 0 not at all, 1 as root, 2 through sudo.

    Before 0.3.37 it had opened files instead, or none.
    """
    kind = getattr(helper, "fw_progress", None)
    return int(kind) if isinstance(kind, int) else int(kind is not None)


class UploadWatch:
    """Reads the progress from a daemon thread.

    Args:
        helper: picamera2's IMX500.
        report: called with (bytes done, bytes in all) when that changes.
    """

    def __init__(self, helper: Any, report: Callable[[int, int], None] | None) -> None:
        self._helper, self._report = helper, report
        self._stop = threading.Event()
        self._changed_at = time.monotonic()
        self.readable = progress_kind(helper) != 0
        self.progress: tuple[int, int] = (0, 0)
        self._thread = threading.Thread(target=self._run, name="imx500-upload", daemon=True)

    @property
    def stalled_s(self) -> float:
        """How long nothing has moved; 0 where the progress cannot be read."""
        return time.monotonic() - self._changed_at if self.readable else 0.0

    def start(self) -> None:
        if self.readable:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the report has then been told the end."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2 * INTERVAL_S)

    def _run(self) -> None:
        seen: object = None
        while True:
            last = self._stop.wait(INTERVAL_S if seen is not None else 0)
            try:
                now = [self._helper.get_fw_upload_progress(stage) for stage in STAGES]
            except (OSError, ValueError, IndexError, subprocess.SubprocessError):
                self.readable = False
                return
            if now != seen:
                self._changed_at = time.monotonic()
                if now[-1] != self.progress:
                    self._tell(*now[-1])
                seen = now
            if last:
                return

    def _tell(self, done: int, total: int) -> None:
        self.progress = (done, total)
        if self._report is not None and total:
            try:
                self._report(done, total)
            except Exception:  # the user's own code: a broken report must not stop the upload
                self._report = None


@contextlib.contextmanager
def bar_process(helper: Any) -> Any:
    """Draws a bar on standard error from another process, while the body runs."""
    from_root = progress_kind(helper) == 1
    device, bridge = helper.imx500_device_id, helper.spi_device_id
    commands = (
        (f"cat /sys/kernel/debug/imx500-fw:{device}/fw_progress",
         f"cat /sys/kernel/debug/rp2040-spi:{bridge}/transfer_progress")
        if from_root
        else (f"sudo -n /usr/sbin/debug_stream_imx500.sh {device}",
              f"sudo -n /usr/sbin/debug_stream_rp2040.sh {bridge}")
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *commands], stdin=subprocess.PIPE, stdout=sys.stderr
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()  # tells it to end
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_within(timeout_s: float, work: Callable[[], None], stuck: Callable[[], str]) -> str:
    """Runs something that may hang in a daemon thread.

    Args:
        timeout_s: how long it may take.
        work: what to do.
        stuck: asked every now and then; a text ends the waiting.

    Returns:
        "" if it was done, else why it was left alone.

    Raises:
        Exception: what ``work`` raised.
    """
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="imx500-work", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not done.wait(max(0.0, min(0.05, deadline - time.monotonic()))):
        reason = stuck()
        if reason or time.monotonic() >= deadline:
            return reason or f"nothing came back for {timeout_s:g} s"
    if errors:
        raise errors.pop()  # kept here, it and this call would hold each other
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the bar until the upload is complete or standard input is closed."""
    parser = argparse.ArgumentParser(description="Shows the upload of a network to the sensor.")
    parser.add_argument("firmware", help="command that prints stage, bytes and bytes in all")
    parser.add_argument("bridge", help="command that prints the bytes of the present block")
    args = parser.parse_args(argv)
    from tqdm import tqdm

    with tqdm(desc="Uploading the network", unit="B", unit_scale=True, unit_divisor=1024) as bar:
        while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            try:
                stage, block, total = (int(word) for word in _output(args.firmware).split()[:3])
                done = min(block + int(_output(args.bridge)), total)
            except (OSError, ValueError, subprocess.SubprocessError):
                return 1
            if stage == NETWORK_STAGE and total:
                bar.total = total
                bar.update(done - bar.n)
                if done == total:
                    return 0
    return 0


def _output(command: str) -> str:
    return subprocess.check_output(shlex.split(command), text=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
