"""What a part is told of its own grants and of the other parts."""

from __future__ import annotations

import json

from picosam_sdk.settings import EgressRule
from tests.pipeline.conftest import Bench, raw, until


def test_a_part_knows_what_its_own_table_grants(bench: Bench) -> None:
    capture = {"kind": "capture"}
    granted = {**capture, "egress": {"grants": ["pixels"], "max_rate_hz": 2}}
    roi = [{"kind": "ask", "egress": {"grants": ["gaze"]}}]
    _, parts = bench.build(raw(publish=[capture, granted], roi=roi, filter=[{"kind": "mark"}]))
    first, second = (placed.part.context.egress for placed in parts.publishers)
    assert first == EgressRule()
    assert second == EgressRule(grants=("pixels",), max_rate_hz=2)
    assert parts.rois[0].part.context.egress.grants == ("gaze",)
    assert parts.filters[0].part.context.egress == EgressRule()


def test_parts_are_told_of_each_other(bench: Bench) -> None:
    roi = [{"kind": "ask", "name": "where"}]
    application, parts = bench.build(raw(roi=roi, filter=[{"kind": "mark"}], publishers=2))
    context = parts.publishers[0].part.context
    assert context.status.get() is None
    bench.open(application)
    told = context.status.get()
    assert told is not None
    assert [(part["role"], part["name"], part["kind"]) for part in told["parts"]] == [
        ("camera", "film", "film"),
        ("backend", "red", "red"),
        ("roi", "where", "ask"),
        ("filter", "mark", "mark"),
        ("publisher", "capture", "capture"),
        ("publisher", "capture-2", "capture"),
    ]
    assert told["parts"][2]["state"] == "ready"
    json.dumps(told, allow_nan=False)


def test_what_they_are_told_is_renewed(bench: Bench) -> None:
    application, parts = bench.build(raw())
    bench.start(application)
    context = parts.publishers[0].part.context

    def sent() -> bool:
        told = context.status.get() or {"parts": []}
        return any(part.get("sent") for part in told["parts"])

    until(sent, "counts of what was sent")
