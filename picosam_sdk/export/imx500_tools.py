"""Sony's tools for the IMX500: where they are, how they are set up and run, what they say.

They live in an environment of their own, because they need older libraries than the SDK, and
are only ever run as programs. The converter itself is proprietary: read its licence.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from picosam_sdk.errors import ModelError, UnavailableError

__all__ = [
    "PACKAGES",
    "VENV_VARIABLE",
    "ToolMessage",
    "Tools",
    "check_java",
    "default_venv",
    "explain_failure",
    "find_tools",
    "read_messages",
    "run_tool",
    "set_up_tools",
]

VENV_VARIABLE = "PICOSAM_IMX500_VENV"
"""Environment variable that names the tools' environment."""

PACKAGES = (
    "torch==2.13.0",
    "torchvision==0.28.0",
    "model-compression-toolkit==2.5.1",
    "edge-mdt-tpc==1.3.0",
    "imx500-converter[pt]==3.19.2",
)
"""Versions that were seen to work together, on Python 3.11."""

JAVA = 17
SETUP_HINT = "Set the tools up with: picosam imx500 setup"

MEANINGS = {
    "USOP": "the network has operators that the sensor does not know",
    "ODE": "the output folder exists already",
    "EXEC": "the converter could not read the network",
    "GE": "the converter could not lay out the network",
    "ISM": "the network needs more memory than the chip has",
}
"""Codes of the converter's errors, as far as they were met."""

WRAPPER_CODES = {"FEFSUC"}
"""Codes that only say that another error happened."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs of the tools' environment.

    Args:
        python: its interpreter.
        converter: ``imxconv-pt``.
    """

    python: Path
    converter: Path


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """An error of the converter: its code, and what it says."""

    code: str
    text: str


def default_venv() -> Path:
    """Where ``picosam imx500 setup`` puts the tools unless told otherwise."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "picosam" / "imx500-tools"


def find_tools(venv: Path | None = None) -> Tools:
    """Finds the tools: in the given environment, that of PICOSAM_IMX500_VENV, the default, on PATH.

    Raises:
        UnavailableError: they are in none of these.
    """
    named = venv or (Path(value) if (value := os.environ.get(VENV_VARIABLE)) else None)
    on_path = shutil.which("imxconv-pt")
    folders = [named / "bin"] if named else [default_venv() / "bin"]
    if on_path and not named:
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        tools = Tools(folder / "python", folder / "imxconv-pt")
        if tools.python.exists() and tools.converter.exists():
            return tools
    places = ", ".join(str(folder) for folder in folders)
    raise UnavailableError(
        f"expected Sony's tools (python and imxconv-pt) in {places}, found none", hint=SETUP_HINT
    )


def check_java() -> None:
    """Makes sure that there is a Java that the converter can use.

    Raises:
        UnavailableError: there is none, or one that is too old.
    """
    hint = f"Install Java {JAVA}, on Debian with: sudo apt install openjdk-{JAVA}-jre-headless"
    java = shutil.which("java")
    if java is None:
        raise UnavailableError("expected Java on PATH for Sony's converter, found none", hint=hint)
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)(?:\.(\d+))?', done.stdout + done.stderr)
    major = 0
    if found:  # "1.8.0" is Java 8
        major = int(found[2] if found[1] == "1" and found[2] else found[1])
    if major < JAVA:
        raise UnavailableError(f"expected Java {JAVA} or newer, got {major or 'none'}", hint=hint)


def set_up_tools(
    venv: Path, python: str = sys.executable, say: Callable[[str], object] = print
) -> Tools:
    """Makes the tools' environment and installs :data:`PACKAGES` into it.

    Args:
        venv: folder to make; one that is there is completed.
        python: interpreter to make it with, 3.10 to 3.12.
        say: is told each step.

    Raises:
        UnavailableError: Python does not suit, or a step failed.
    """
    probe = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    try:
        version = subprocess.run(
            [python, "-c", probe], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(
            f"expected a Python at {python}, got: {error}", hint="Name another one with --python."
        ) from error
    if version not in ("3.10", "3.11", "3.12"):
        raise UnavailableError(
            f"expected Python 3.10 to 3.12 for Sony's tools, got {version} ({python})",
            hint="Name another one: picosam imx500 setup --python python3.11",
        )
    inside = str(venv / "bin" / "python")
    pip = [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for text, command in (
        (f"making {venv} with Python {version}", [python, "-m", "venv", str(venv)]),
        (f"installing {', '.join(PACKAGES)}", [*pip, *PACKAGES]),
    ):
        say(text)
        if subprocess.run(command, check=False).returncode != 0:
            raise UnavailableError(
                f"expected to set up Sony's tools in {venv}, but failed while {text}",
                hint="Read what pip printed above; the packages need about 2 GB.",
            )
    return find_tools(venv)


def run_tool(
    command: Sequence[str | Path],
    log: Path,
    *,
    heard: Callable[[str], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs a program; returns its exit status and all that it printed, also kept in a file.

    Args:
        command: program and arguments.
        log: file for what it prints.
        heard: is told every line.
        environment: variables to set beside the current ones.

    Raises:
        UnavailableError: the program cannot be started.
    """
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except OSError as error:
        raise UnavailableError(
            f"expected to start {command[0]}, got: {error}", hint=SETUP_HINT
        ) from error
    lines: list[str] = []
    try:
        assert process.stdout is not None
        with process.stdout, log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                lines.append(line)
                file.write(line)
                if heard is not None:
                    heard(line.rstrip())
        return process.wait(), "".join(lines)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


_MESSAGE = re.compile(r"ERROR ?: CODE: \[(\w+)\] (.*?)(?: \[[^\[\]]*\.py:\d+\])?\s*$")


def read_messages(output: str) -> list[ToolMessage]:
    """The errors in what the converter printed, each once; lines of one error are joined."""
    lines: dict[str, list[str]] = {}
    for line in output.splitlines():
        found = _MESSAGE.search(line)
        if found and found[2].strip() not in lines.setdefault(found[1], []):
            lines[found[1]].append(found[2].strip())
    messages = [ToolMessage(code, " ".join(parts)) for code, parts in lines.items()]
    causes = [message for message in messages if message.code not in WRAPPER_CODES]
    return causes or messages


def explain_failure(program: str, status: int, output: str, log: Path) -> ModelError:
    """The error to raise where a tool failed: what its codes mean, and where all of it stands."""
    messages = read_messages(output)
    if messages:
        said = "; ".join(
            f"[{m.code}] {m.text}" + (f" ({MEANINGS[m.code]})" if m.code in MEANINGS else "")
            for m in messages
        )
    else:
        said = next((line for line in reversed(output.splitlines()) if line.strip()), "nothing")
    return ModelError(
        f"expected {program} to convert the network, but it stopped with status {status}: {said}",
        hint=f"All that it printed is in {log}.",
    )
