"""What may leave: the gate that every result passes, the audit log and the manifest."""

from __future__ import annotations

from picosam_sdk.egress.audit import Audit
from picosam_sdk.egress.gate import Gate, check_needs
from picosam_sdk.egress.manifests import format_manifest, manifest

__all__ = ["Audit", "Gate", "check_needs", "format_manifest", "manifest"]
