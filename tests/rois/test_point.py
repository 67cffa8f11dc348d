"""A point that stays."""

from __future__ import annotations

from typing import Any

import pytest

from picosam_sdk import ConfigError, Context, Prompt
from picosam_sdk.config import from_mapping
from picosam_sdk.rois.point import PointConfig, PointSource
from picosam_sdk.testing.contract import RoiSourceContract


class TestPoint(RoiSourceContract):
    part = PointSource

    @pytest.fixture
    def options(self) -> Any:
        return {"point": [0.5, 0.5]}


@pytest.mark.parametrize(
    "options",
    [{"point": [0.25, 0.5]}, {"point": [25, 50], "unit": "percent"},
     {"point": [80, 60], "unit": "px", "size_px": [320, 120]}],
)  # fmt: skip
def test_units(options: Any) -> None:
    source = PointSource(from_mapping({**options, "region": "cup"}, PointConfig), Context())
    assert source.latest(0) == Prompt(point=(0.25, 0.5), region="cup")


@pytest.mark.parametrize("point", [[1.0, 0.5], [0.5, -0.1], [float("nan"), 0.5]])
def test_a_place_outside_the_view_is_refused(point: Any) -> None:
    with pytest.raises(ConfigError, match=r"^point: expected a place in the view"):
        from_mapping({"point": point}, PointConfig)
