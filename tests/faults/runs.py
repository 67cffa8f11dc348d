"""Events that are a run of their own: they end in time, say why, and leave no traceback."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.faults.world import ROOT, World

__all__ = ["bad_video", "broken_command", "broken_in_the_middle"]

_FRAMES = 24
_PROGRAM = "import sys; from picosam_sdk.cli.main import main; sys.exit(main())"


def bad_video(world: World, rng: random.Random) -> bool:
    """A file that was never a video cannot be opened."""
    path = world.folder / "bad.mp4"
    path.write_bytes(rng.choice((b"", b"\0\0\0\x18ftypmp42", b"\0\0\0\x18ftypmp42isom"))
                     + rng.randbytes(rng.choice((0, 100, 5000))))  # fmt: skip
    done, _ = _run_video(world, path)
    said_why = b"bad.mp4" in done.stderr and b"Traceback" not in done.stderr
    if done.returncode != 1 or not said_why:
        _violated(world, "video never one", done)
    return True


def broken_in_the_middle(world: World, rng: random.Random) -> bool:
    """A video that is cut off, or overwritten, after some good frames: those give results.

    Of an MP4 that is cut off the table of frames is lost, which lies at its end.
    """
    path = world.folder / f"broken.{rng.choice(('avi', 'mp4'))}"
    is_avi = path.suffix == ".avi"
    how = rng.choice(("cut", "zeros", "noise"))
    good = _video(path)
    data = bytearray(path.read_bytes())
    start = len(data) * rng.randint(50, 80) // 100
    if how == "cut":
        del data[start:]
    else:
        end = start + len(data) // 8
        n_bytes = end - start
        data[start:end] = bytes(n_bytes) if how == "zeros" else rng.randbytes(n_bytes)
    path.write_bytes(data)
    done, n_results = _run_video(world, path)
    some = n_results > 0 if is_avi or how != "cut" else done.returncode == 1
    ended = done.returncode in (0, 1) and b"Traceback" not in done.stderr
    if not (ended and some and n_results <= good):
        _violated(world, f"{path.suffix} {how}, {n_results} results", done)
    return True


def broken_command(world: World, rng: random.Random) -> bool:
    """A plugin's verb that raises ends itself alone; one that cannot be added harms no other."""
    plugin = {"PYTHONPATH": os.pathsep.join((str(world.folder / "plugin"), str(ROOT)))}
    how = rng.choice(("run", "add_parser"))
    environment = {**os.environ, **plugin, "FAULTS_DIR": str(world.folder), "FAULTY_VERB": how}
    own = _picosam(world, ["faulty-verb"], environment)
    other = _picosam(world, ["--help"], environment)
    if own.returncode not in ((1,) if how == "run" else (1, 2)):
        _violated(world, f"verb that raises in {how}", own)
    if other.returncode != 0:
        _violated(world, f"--help beside a verb that raises in {how}", other)
    return True


def _video(path: Path) -> int:
    """Writes a good one; how many frames it has."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, 100.0, (96, 64))
    rng = np.random.default_rng(1)
    for _ in range(_FRAMES):  # noise, so that the pictures and not the tables fill the file
        writer.write(rng.integers(0, 255, (64, 96, 3), np.uint8))
    writer.release()
    return _FRAMES


def _run_video(world: World, path: Path) -> tuple[subprocess.CompletedProcess[bytes], int]:
    """Runs the pipeline on it; what came, and how many results."""
    out = world.folder / "video.jsonl"
    out.unlink(missing_ok=True)
    config = world.folder / "video.toml"
    config.write_text(
        f'[camera]\nkind = "video"\npath = "{path}"\n[[roi]]\nkind = "fixed"\n'
        f'box = [0.1, 0.1, 0.5, 0.5]\n[[publish]]\nkind = "jsonl"\npath = "{out}"\n'
    )
    done = _picosam(world, ["run", str(config)], dict(os.environ))
    return done, len(out.read_bytes().splitlines()) if out.exists() else 0


def _picosam(
    world: World, words: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    environment = {**environment, "TMPDIR": str(world.folder)}
    return subprocess.run([sys.executable, "-c", _PROGRAM, *words], cwd=ROOT, env=environment,
                          capture_output=True, timeout=60, check=False)  # fmt: skip


def _violated(world: World, what: str, done: subprocess.CompletedProcess[bytes]) -> None:
    world.checker.violations.append(f"{what}: {done.returncode} {done.stderr[-300:]!r}")
