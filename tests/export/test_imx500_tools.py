"""Sony's tools: found, started, understood. The tools here are scripts that the tests write."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from picosam_sdk.errors import ModelError, UnavailableError
from picosam_sdk.export.imx500_memory import read_memory_report
from picosam_sdk.export.imx500_tools import (
    PACKAGES,
    VENV_VARIABLE,
    ToolMessage,
    check_java,
    default_venv,
    explain_failure,
    find_tools,
    read_messages,
    run_tool,
    set_up_tools,
)

# Lines as imx500-converter 3.19 prints them, from its two stages.
UNKNOWN_OPERATOR = (
    "2026-11-24 17:57:00,553 ERROR : CODE: [USOP] The network contains unsupported ops: "
    "DepthToSpace [/opt/tools/lib/python3.11/site-packages/uni/common/logger.py:185]\n"
)
OUTPUT_READ_INSIDE = """\
2026-11-24 17:58:41.120 INFO : CODE: [START] Starting SDSPconv
2026-11-24 17:59:09.344 ERROR: CODE: [GE] ConvFe error (GE) on 'lite': different out dtypes for
2026-11-24 17:59:09.344 ERROR: CODE: [GE] one port:
2026-11-24 17:59:09.345 ERROR: CODE: [GE] 1
2026-11-24 17:59:09.345 ERROR: CODE: [GE] should be equal to
2026-11-24 17:59:09.345 ERROR: CODE: [GE] 2
2026-11-24 17:59:09.762 ERROR: CODE: [FEFSUC] Failure in conversion process:
Exception in thread "main" FailureInSub: ERROR: CODE: [FEFSUC] Failure in conversion process:
"""
TOO_LARGE = """\
2026-11-24 19:15:48.881 ERROR: CODE: [ISM] ConvFe error (ISM) on 'paper192': Not enough memory, \
available: 8.00MB , required: 10.53MB
Exception in thread "main" Hidden: ERROR: CODE: [ISM] ConvFe error (ISM) on 'paper192': \
Not enough memory, available: 8.00MB , required: 10.53MB
2026-11-24 19:15:49,926 ERROR : sdspconv exited with error code: 1, uni files can be found in /tmp
"""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No tools anywhere: an empty data folder and an empty PATH."""
    monkeypatch.delenv(VENV_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def environment(folder: Path) -> Path:
    """A folder that looks like the tools' environment."""
    program(folder / "bin" / "python", "exit 0")
    program(folder / "bin" / "imxconv-pt", "exit 0")
    return folder


def test_an_unknown_operator_is_named() -> None:
    assert read_messages(UNKNOWN_OPERATOR) == [
        ToolMessage("USOP", "The network contains unsupported ops: DepthToSpace")
    ]


def test_lines_of_one_error_are_joined_and_wrappers_left_out() -> None:
    (message,) = read_messages(OUTPUT_READ_INSIDE)
    assert message.code == "GE"
    assert message.text.endswith("different out dtypes for one port: 1 should be equal to 2")


def test_too_little_memory_is_said_once_and_with_its_meaning(tmp_path: Path) -> None:
    assert len(read_messages(TOO_LARGE)) == 1
    text = str(explain_failure("imxconv-pt", 1, TOO_LARGE, tmp_path))
    assert text.count("required: 10.53MB") == 1
    assert "the network needs more memory than the chip has" in text


def test_a_wrapper_alone_is_kept() -> None:
    text = "ERROR: CODE: [FEFSUC] Failure in conversion process:"
    assert read_messages(text) == [ToolMessage("FEFSUC", "Failure in conversion process:")]


def test_output_without_codes_gives_no_message() -> None:
    assert read_messages("2026-11-24 18:07:26.865 INFO : Dsp-Dnn-Parser finished !\n") == []


def test_a_failure_says_the_code_its_meaning_and_where_the_log_is(tmp_path: Path) -> None:
    error = explain_failure("imxconv-pt", 2, UNKNOWN_OPERATOR, tmp_path / "x.log")
    assert "[USOP]" in str(error)
    assert "DepthToSpace (the network has operators that the sensor does not know)" in str(error)
    assert str(tmp_path / "x.log") in error.hint


def test_a_failure_without_codes_gives_the_last_line(tmp_path: Path) -> None:
    error = explain_failure("imxconv-pt", 127, "one\nbash: command not found\n\n", tmp_path)
    assert "status 127: bash: command not found" in str(error)


def test_tools_are_looked_for_where_the_user_says(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError) as caught:
        find_tools()
    assert str(default_venv()) in str(caught.value)
    assert "picosam imx500 setup" in caught.value.hint

    on_path = environment(clean / "d")
    monkeypatch.setenv("PATH", str(on_path / "bin"))
    assert find_tools().converter == on_path / "bin" / "imxconv-pt"

    standard = environment(default_venv())
    assert find_tools().converter == standard / "bin" / "imxconv-pt"

    named = environment(clean / "b")
    monkeypatch.setenv(VENV_VARIABLE, str(named))
    assert find_tools().python == named / "bin" / "python"

    given = environment(clean / "a")
    assert find_tools(given).python == given / "bin" / "python"


def test_a_named_environment_that_is_none_is_an_error(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(default_venv())
    with pytest.raises(UnavailableError, match="nowhere"):
        find_tools(clean / "nowhere")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('openjdk version "21" 2023-09-19', None),
        ('java version "1.8.0_301"', "got 8"),
        ("something else", "got none"),
    ],
)
def test_java_must_be_new_enough(clean: Path, text: str, problem: str | None) -> None:
    program(clean / "bin" / "java", f"echo '{text}' >&2")
    if problem is None:
        check_java()
    else:
        with pytest.raises(UnavailableError, match=problem):
            check_java()


def test_missing_java_is_said_with_the_way_to_install_it(clean: Path) -> None:
    with pytest.raises(UnavailableError, match="found none") as caught:
        check_java()
    assert "apt install openjdk-17" in caught.value.hint


def test_a_tools_output_is_kept_passed_on_and_returned(tmp_path: Path) -> None:
    tool = program(tmp_path / "tool", 'echo "out $NOTE $1"; echo err >&2; exit 3')
    heard: list[str] = []
    log = tmp_path / "log"
    status, output = run_tool([tool, "x"], log, heard=heard.append, environment={"NOTE": "n"})
    assert (status, sorted(heard)) == (3, ["err", "out n x"])
    assert log.read_text() == output


def test_a_tool_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="expected to start"):
        run_tool([tmp_path / "none"], tmp_path / "log")


def test_a_tool_ends_with_us(tmp_path: Path) -> None:
    """An interrupt while it runs must not leave it behind."""
    tool = program(tmp_path / "tool", "echo $$; exec sleep 60")
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tool([tool], tmp_path / "log", heard=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def fake_python(path: Path, version: str = "3.11", pip: str = "exit 0") -> Path:
    """A Python that tells a version, makes environments of itself, and installs as told."""
    return program(
        path,
        f"""case "$1 $2" in
"-c "*) echo {version} ;;
"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/imxconv-pt" ;;
"-m pip") echo "$@" > "$(dirname "$0")/installed"; {pip} ;;
esac""",
    )


def test_setting_up_installs_the_versions_that_work(tmp_path: Path) -> None:
    said: list[str] = []
    venv = tmp_path / "venv"
    tools = set_up_tools(venv, str(fake_python(tmp_path / "python")), said.append)
    assert tools.converter == venv / "bin" / "imxconv-pt"
    installed = (venv / "bin" / "installed").read_text().split()
    assert set(PACKAGES) <= set(installed)
    assert len(said) == 2


def test_a_python_that_is_too_new_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"expected Python 3\.10 to 3\.12.*got 3\.13"):
        set_up_tools(tmp_path / "venv", str(fake_python(tmp_path / "python", "3.13")))
    assert not (tmp_path / "venv").exists()


def test_a_python_that_does_not_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="expected a Python at") as caught:
        set_up_tools(tmp_path / "venv", str(tmp_path / "none"))
    assert "--python" in caught.value.hint


def test_a_failed_installation_is_an_error(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", pip="exit 1")
    with pytest.raises(UnavailableError, match="failed while installing torch"):
        set_up_tools(tmp_path / "venv", str(python), lambda _: None)


# Two reports of imx500-converter 3.19: in bytes, and in units that it chose.
IN_BYTES = """{"Memory Report": {"Name": "lite", "Runtime Memory Physical Size": "414720B",
"Model Memory Physical Size": "1351104B", "Reserved Memory": "1024B", "Memory Usage": "1766848B",
"Total Memory Available On Chip": "8388480B", "Memory Utilization": "22%", "Fit In Chip": true,
"Input Persistent": true, "Networks": []}}"""
IN_UNITS = """{"Memory Report": {"Name": "paper", "Runtime Memory Physical Size": "2.26MB",
"Model Memory Physical Size": "1.40MB", "Reserved Memory": "1.00KB", "Memory Usage": "3.67MB",
"Total Memory Available On Chip": "8.00MB", "Memory Utilization": "46%", "Fit In Chip": true,
"Input Persistent": false, "Networks": []}}"""


def test_the_memory_report_is_read_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "lite_MemoryReport.json"
    path.write_text(IN_BYTES)
    report = read_memory_report(path)
    assert (report.used, report.available, report.fits) == (1_766_848, 8_388_480, True)
    assert report.used == report.features + report.weights + 1024
    assert "used         1.68 MB of 8.00 MB (21%): fits" in report.table()


def test_the_memory_report_is_read_in_other_units(tmp_path: Path) -> None:
    path = tmp_path / "paper_MemoryReport.json"
    path.write_text(IN_UNITS.replace("true", "false"))
    report = read_memory_report(path)
    assert report.used == round(3.67 * 1024**2)
    assert "does not fit" in report.table()


@pytest.mark.parametrize("text", ["", "[]", "{}", IN_BYTES.replace("1766848B", "much")])
def test_a_broken_memory_report_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ModelError, match="memory report"):
        read_memory_report(path)
    with pytest.raises(ModelError, match="FileNotFoundError"):
        read_memory_report(tmp_path / "none.json")


def test_this_python_can_be_asked_for_its_version(tmp_path: Path) -> None:
    """The probe works on a real interpreter; one that is too new ends there, before any pip."""
    if sys.version_info >= (3, 13):
        with pytest.raises(UnavailableError, match="expected Python"):
            set_up_tools(tmp_path / "venv", sys.executable, lambda _: None)
    else:
        blocked = tmp_path / "venv"
        blocked.write_text("a file where the folder would be")
        with pytest.raises(UnavailableError, match="failed while making"):
            set_up_tools(blocked, sys.executable, lambda _: None)
