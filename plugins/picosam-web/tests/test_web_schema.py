"""The API is as openapi.json describes it: Schemathesis asks a real server.

Schemathesis runs with a fixed seed, so that it asks the same in each run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from picosam_web.guesses import Guesses
from websockets.sync.client import connect

PATH = Path(str(files("picosam_web").joinpath("static", "openapi.json")))
DOCUMENT = json.loads(PATH.read_text("utf-8"))
LONGEST_S = 180
CONFIGURATION = """
[[operations]]
# That a ROI overlaps the view cannot be said in a schema.
include-name = "POST /api/prompt"
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture(autouse=True)
def _unlimited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limits of rate have tests of their own; here they would answer instead of the API."""
    monkeypatch.setattr("picosam_web.access.Guesses", partial(Guesses, 1e6, 1_000_000))
    monkeypatch.setattr("picosam_web.site._MESSAGES_BURST", 1_000_000)
    return None


def _operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Method and path of everything that is described."""
    found = set()
    for path, item in document["paths"].items():
        if "$ref" in item:
            item = document["components"]["pathItems"][item["$ref"].rsplit("/", 1)[-1]]
        found |= {(method.upper(), path) for method in item}
    return found


def _run(
    folder: Path, url: str, *options: str, document: Path = PATH
) -> tuple[int, dict[str, Any], str]:
    """Schemathesis' exit status, its report, and what it printed."""
    (folder / "st.toml").write_text(CONFIGURATION, "utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "st.toml",
               "run", document, "--url", url.rstrip("/"), "--seed", "1", "--no-shrink",
               "--suppress-health-check", "all", "--continue-on-failure",
               "--generation-database", "none",
               "--report", "json", "--report-json-path", folder / "report.json"]  # fmt: skip
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=LONGEST_S
    )
    report = json.loads((folder / "report.json").read_text("utf-8"))
    return done.returncode, report, done.stdout + done.stderr


def test_what_is_served_is_described_and_what_is_described_is_served(direct: Any) -> None:
    site = direct()._server._uvicorn.config.app._app
    served = {
        (method, route.path)
        for route in site.routes
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    assert served == _operations(DOCUMENT)
    sockets = [route.path for route in site.routes if not hasattr(route, "methods")]
    assert sockets == ["/ws"]
    assert "/ws" in DOCUMENT["info"]["description"]


def test_the_description_is_served(direct: Callable[..., Any], token: str) -> None:
    page = direct(token=token)
    assert httpx.get(page.url + "openapi.json").status_code == 401
    answer = httpx.get(page.url + "openapi.json", headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_a_page_with_a_token_is_as_described(
    direct: Callable[..., Any], token: str, tmp_path: Path
) -> None:
    """Nothing fails, bad data and no token are refused, and the answers are what is written."""
    page = direct(token=token)
    bearer = f"Authorization: Bearer {token}"
    code, report, text = _run(tmp_path, page.url, "-H", bearer, "--max-examples", "10")
    assert code == 0, text
    assert report["failures"] == report["errors"] == []
    assert report["operations"]["tested"] == len(_operations(DOCUMENT))
    assert report["test_cases"]["generated"] > 200
    assert page.stats["prompts"] > 5
    assert page.stats["cleared"] > 5
    assert page.stats["bad_messages"] > 20
    assert page.stats["refused_token"] > 10


def test_a_page_for_looking_only_is_as_described(
    direct: Callable[..., Any], token: str, tmp_path: Path
) -> None:
    page = direct(token=token, prompts=False)
    code, report, text = _run(
        tmp_path, page.url, "-H", f"Authorization: Bearer {token}", "--max-examples", "5",
        "--include-path", "/api/prompt",
    )  # fmt: skip
    assert code == 0, text
    assert report["failures"] == []
    assert page.context.prompt.get() is None


def test_what_is_not_as_described_is_found(direct: Callable[..., Any], tmp_path: Path) -> None:
    """A server that wants no token, and a state of another version."""
    changed = json.loads(PATH.read_text("utf-8"))
    changed["components"]["schemas"]["State"]["properties"]["v"]["const"] = 2
    document = tmp_path / "changed.json"
    document.write_text(json.dumps(changed), "utf-8")
    code, report, text = _run(
        tmp_path, direct().url, "--max-examples", "2", "--include-path", "/api/state",
        document=document,
    )  # fmt: skip
    assert code == 1, text
    assert {one["type"] for one in report["failures"]} == {"IgnoredAuth", "JsonSchemaError"}


def test_the_state_of_a_running_application_is_as_described(kiosk: Any, until: Any) -> None:
    served = kiosk.serve({"picture": True}, grants=["redacted"])
    state = until(
        lambda: (found := httpx.get(served.url + "api/state").json())["application"] and found,
        "its state",
    )
    Draft202012Validator({**DOCUMENT, "$ref": "#/components/schemas/State"}).validate(state)
    assert state["application"]["parts"]


def test_the_token_gives_a_cookie(direct: Callable[..., Any], token: str) -> None:
    answer = httpx.post(direct(token=token).url + "api/login", json={"token": token})
    assert answer.status_code == 204
    assert answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["nothing", "api/state/", "api/prompt", "api/login", "ws"])
def test_another_path_or_method_is_answered_in_json(direct: Callable[..., Any], path: str) -> None:
    answer = httpx.get(direct().url + path)
    assert answer.status_code == (405 if path in ("api/prompt", "api/login") else 404)
    assert set(answer.json()) == {"error", "hint"}
    allowed = set(answer.headers.get("allow", "").split(", ")) - {""}
    assert allowed == {method for method, one in _operations(DOCUMENT) if one == f"/{path}"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"point": [1%s, 0]}' % (b"0" * 400),
        b'{"roi": [0, 0, 1, -1%s]}' % (b"0" * 400),
        b'{"point": [1e999, 0]}',
        b'{"point": [%s, 0]}' % (b"9" * 4050),
        b'{"point": ["\\ud800", 0]}',
        b"[" * 4000,
        b"",
    ],
)
def test_numbers_beyond_all_use_are_refused(direct: Callable[..., Any], body: bytes) -> None:
    page = direct()
    answer = httpx.post(
        page.url + "api/prompt", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, "true"])
def test_a_ping_without_a_time_is_an_error(direct: Callable[..., Any], number: str) -> None:
    """What comes back is JSON, which has no infinity."""
    with connect(direct().url.replace("http://", "ws://") + "ws") as connection:
        connection.send('{"type": "ping", "t": %s}' % number)  # noqa: UP031
        while (answer := json.loads(connection.recv(10)))["type"] == "state":
            pass
        assert answer["type"] == "error"


def test_a_long_query_is_no_token(direct: Callable[..., Any], token: str) -> None:
    page = direct(token=token)
    many = "&".join(f"{name}=1" for name in range(50))
    assert httpx.get(f"{page.url}?{many}&token={token}").status_code == 401
    assert httpx.get(f"{page.url}?token={token}").status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:80; script-src *", "127.0.0.1/x", "127.0.0.1?x", "me@127.0.0.1"]
)
def test_a_name_with_more_behind_it_is_refused(direct: Callable[..., Any], host: str) -> None:
    """It would stand in the Content-Security-Policy."""
    answer = httpx.get(direct().url, headers={"Host": host})
    assert answer.status_code == 421
    assert "content-security-policy" not in answer.headers
