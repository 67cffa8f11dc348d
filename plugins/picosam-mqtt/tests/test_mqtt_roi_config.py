"""The configuration of the ROI source "mqtt": what is refused, and when."""

from __future__ import annotations

import math
from typing import Any

import pytest
from picosam_mqtt.roi import MqttRoi, MqttRoiConfig

from picosam_sdk import ConfigError, Context
from picosam_sdk.config import Secret, from_mapping


def test_a_key_that_is_missing_or_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for secret, message in ((Secret(env="NO_SUCH_KEY"), "NO_SUCH_KEY"), (Secret(text="x"), "16")):
        source = MqttRoi(MqttRoiConfig(key=secret), Context())
        with pytest.raises(ConfigError, match=message):
            source.open()
        source.close()


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"accept": []}, "accept"),
        ({"accept": ["mask"]}, "accept"),
        ({"max_ttl_s": -1}, "max_ttl_s"),
        ({"gaze_max_age_s": 0}, "gaze_max_age_s"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"max_rate_hz": 0}, "max_rate_hz"),
        ({"window_s": math.inf}, "window_s"),
        ({"base_topic": "picosam/+"}, "base_topic"),
        ({"base_topic": "picosam/"}, "base_topic"),
        ({"topic": "picosam"}, "topic"),
    ],
)
def test_a_wrong_configuration_is_refused(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        from_mapping(table, MqttRoiConfig)
