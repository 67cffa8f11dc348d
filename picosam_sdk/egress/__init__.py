"""What may leave: the gate that every result passes, the audit log and the manifest."""

from __future__ import annotations

from picosam_sdk.egress.audit import Audit
from picosam_sdk.egress.gate import Gate, check_needs, forget_frames
from picosam_sdk.egress.inbox import for_recipient, shared_context
from picosam_sdk.egress.manifests import format_manifest, manifest

__all__ = [
    "Audit",
    "Gate",
    "check_needs",
    "for_recipient",
    "forget_frames",
    "format_manifest",
    "manifest",
    "shared_context",
]
