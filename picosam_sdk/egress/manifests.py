"""The manifest of a configuration: who gets what, where it goes, and how long it is kept.

Its fields are named after ISO/IEC TS 27560:2023, "Consent record information structure", as far
as a configuration can know them: ``record_id``, ``schema_version``, ``parties`` and one block of
``processing`` for each recipient. It is no consent record by itself: who consented, and when, is
for the controller to add (``pii_principal_id``, ``event_time`` and so on).
"""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import Mapping
from typing import Any

from picosam_sdk.egress.audit import without_credentials
from picosam_sdk.egress.gate import image_grant
from picosam_sdk.parts import Parts
from picosam_sdk.settings import AppConfig, EgressRule

__all__ = ["SCHEMA_VERSION", "format_manifest", "manifest"]

SCHEMA_VERSION = "picosam-privacy/1, fields after ISO/IEC TS 27560:2023"

IN_PROCESS = "this process"
IN_PROCESS_ONLY = "not at all, unless the plugin does so on its own"
_NAMESPACE = uuid.UUID("5b0c6a5e-3f57-4ab5-9d7e-6f8d1c1a2b60")  # made once, for record ids

_PICTURES = {
    "pixels": "whole pictures",
    "redacted": "pictures, everything outside the mask made unrecognisable",
    "cutout": "pictures of the object alone, black outside the mask",
}


def manifest(config: AppConfig, parts: Parts) -> dict[str, Any]:
    """Makes the manifest.

    Args:
        config: what the file says.
        parts: made of it, not opened.

    Returns:
        Ready for JSON. The same configuration gives the same ``record_id``.
    """
    processing = [
        *(_recipient(placed, "publisher", placed.table.egress) for placed in parts.publishers),
        *(_recipient(placed, "roi_source", placed.table.egress) for placed in parts.rois),
        *(_filter(placed) for placed in parts.filters),
        *_endpoints(config),
    ]
    for block in processing:
        block["collection_method"] = _collection(parts)
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "device": config.device.name,
        "parties": [
            {
                "party_id": "controller",
                "party_role": "pii_controller",
                "party_name": config.policy.controller,
                "party_contact": config.policy.contact,
            }
        ],
        "processing": processing,
        "not_stated": _not_stated(config, processing),
    }
    name = json.dumps(record, sort_keys=True)
    return {"record_id": f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}", **record}


def format_manifest(record: Mapping[str, Any]) -> str:
    """The manifest as text for people."""
    (controller,) = record["parties"]
    contact = f", {controller['party_contact']}" if controller["party_contact"] else ""
    lines = [
        f"Privacy manifest of the device '{record['device']}'",
        f"  record      {record['record_id']}",
        f"  schema      {record['schema_version']}",
        f"  controller  {controller['party_name'] or '-'}{contact}",
    ]
    for block in record["processing"]:
        lines += ["", *_format_block(block)]
    pictures = [block["recipient"] for block in record["processing"] if block["pictures"]]
    lines += ["", f"Pictures may go to: {', '.join(pictures) or 'nobody'}."]
    if record["not_stated"]:
        lines.append(f"Not stated: {', '.join(record['not_stated'])}.")
    return "\n".join(lines) + "\n"


def _format_block(block: Mapping[str, Any]) -> list[str]:
    rate = block["max_rate_hz"]
    rows = {
        "goes to": ", ".join(block["storage_locations"]),
        "purpose": block["purpose"] or "-",
        "data": "; ".join(item["description"] for item in block["pii_information"]),
        "processing": "; ".join(block["processing_method"]),
        "rate": f"at most {rate:g} a second" if rate else block["rate"],
        "hours": ", ".join(block["windows"]) or "always",
        "kept": block["retention_period"] or "-",
    }
    lines = [f"{block['recipient']} ({block['role'].replace('_', ' ')}, {block['key']})"]
    for title, text in rows.items():
        lines += textwrap.wrap(
            text, 98, initial_indent=f"  {title:<12}", subsequent_indent=" " * 14,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return lines


def _recipient(placed: Any, role: str, rule: EgressRule) -> dict[str, Any]:
    inside = role == "roi_source"
    return {
        "recipient": placed.name,
        "role": role,
        "kind": placed.table.kind,
        "key": placed.key,
        "purpose": rule.purpose or ("choosing where to look" if inside else ""),
        "pictures": image_grant(rule),
        "pii_information": _categories(rule),
        "processing_method": _methods(rule),
        "storage_locations": [_destination(placed.part)],
        "retention_period": rule.kept or (IN_PROCESS_ONLY if inside else ""),
        "grants": list(rule.grants),
        "max_rate_hz": rule.max_rate_hz,
        "rate": "each frame",
        "windows": list(rule.windows),
    }


def _destination(part: Any) -> str:
    """Where a part's data go, as it says itself; ROI sources keep them, unless they say more."""
    try:
        return without_credentials(str(getattr(part, "destination", IN_PROCESS)))
    except Exception as error:  # a plugin's own code
        return f"unknown: it raised {type(error).__name__}"


def _categories(rule: EgressRule) -> list[dict[str, Any]]:
    mask = "shape, place and size of the object"
    if rule.coarsen:
        mask += f" as {rule.coarsen} x {rule.coarsen} cells of the view"
    roi = "" if rule.coarsen else ", and the ROI"
    found = [
        _category("object_mask", f"{mask}{roi}"),
        _category(
            "measurements",
            "score, times, ages and durations, name of the region, states and counts of the parts",
        ),
    ]
    pictures = image_grant(rule)
    if pictures:
        found.append(_category("picture", _PICTURES[pictures], sensitive=True))
    if "gaze" in rule.grants:
        found.append(_category("gaze", "where the eye looked", sensitive=True))
    return found


def _category(name: str, description: str, sensitive: bool = False) -> dict[str, Any]:
    return {"pii_type": name, "description": description, "sensitive_pii_category": sensitive}


def _methods(rule: EgressRule) -> list[str]:
    """What is done to the data before they are handed over."""
    methods = ["segmented on the device"]
    if image_grant(rule) == "redacted":
        methods.append(f"outside the mask {'blurred' if rule.redaction == 'blur' else 'blanked'}")
    if rule.coarsen:
        methods.append(f"masks coarsened to {rule.coarsen} x {rule.coarsen} cells")
    if rule.min_area:
        methods.append(f"masks under {rule.min_area:.4g} of the view withheld")
    if rule.privacy_masks:
        methods.append(f"parts of the view always hidden: {len(rule.privacy_masks)}")
    if "gaze" not in rule.grants:
        methods.append("gaze withheld, with the ROIs made from it")
    return methods


def _filter(placed: Any) -> dict[str, Any]:
    return _other(
        placed.name, "mask_filter", placed.key, "changes masks before they are handed on",
        [_category("object_mask", "shape, place and size of the object, and the ROI")],
        IN_PROCESS, IN_PROCESS_ONLY, "each frame", placed.table.kind,
    )  # fmt: skip


def _endpoints(config: AppConfig) -> list[dict[str, Any]]:
    """What leaves beside results: counts, on three ways."""
    counts = [_category("measurements", "counts, rates and durations; no masks, no pictures")]
    policy, metrics = config.policy, config.metrics
    found = []
    if metrics.port:
        host = f"[{metrics.host}]" if ":" in metrics.host else metrics.host
        url = f"http://{host}:{metrics.port}/metrics"
        found.append(_other("metrics", "endpoint", "metrics", "watching the device", counts, url,
                            "as long as its reader keeps it", "when it is asked"))  # fmt: skip
    if policy.audit_log is not None:
        kept = f"{policy.audit_files} files of {policy.audit_max_bytes} bytes at most"
        found.append(_other(
            "audit log", "file", "policy.audit_log", "showing afterwards what left",
            [_category("measurements", "grants, destinations, counts and bytes; never content")],
            f"file {policy.audit_log}", kept, "each minute",
        ))  # fmt: skip
    if config.run.status_s:
        found.append(_other("status line", "terminal", "run.status_s", "watching the device",
                            counts, "standard error", "not at all",
                            f"every {config.run.status_s:g} s"))  # fmt: skip
    return found


def _other(
    name: str, role: str, key: str, purpose: str, information: list[dict[str, Any]],
    destination: str, kept: str, rate: str, kind: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A recipient that no egress rule is needed for: nothing can be granted to it."""
    return {
        "recipient": name,
        "role": role,
        "kind": kind,
        "key": key,
        "purpose": purpose,
        "pictures": "",
        "pii_information": information,
        "processing_method": ["segmented on the device" if kind else "counted on the device"],
        "storage_locations": [destination],
        "retention_period": kept,
        "grants": [],
        "max_rate_hz": 0.0,
        "rate": rate,
        "windows": [],
    }


def _collection(parts: Parts) -> str:
    camera = "the sensor" if parts.camera is None else f"camera '{parts.camera.table.kind}'"
    return f"{camera}, segmented by '{parts.backend.name}'"


def _not_stated(config: AppConfig, processing: list[dict[str, Any]]) -> list[str]:
    """Keys that a reader of the manifest would look for."""
    policy = {"controller": config.policy.controller, "contact": config.policy.contact}
    missing = [f"policy.{key}" for key, value in policy.items() if not value]
    for block in processing:
        if block["role"] == "publisher":
            stated = {"purpose": block["purpose"], "kept": block["retention_period"]}
            missing += [f"{block['key']}.egress.{key}" for key, text in stated.items() if not text]
    return missing
