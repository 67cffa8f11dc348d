"""What this package offers to picosam_sdk."""

from __future__ import annotations
