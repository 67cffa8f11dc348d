"""The connection's configuration, and the reasons that exceptions and codes become."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from picosam_mqtt.connection import ConnectionConfig, Reason, TlsConfig
from picosam_mqtt.reasons import of_code, of_exception

from picosam_sdk import ConfigError
from picosam_sdk.config import Secret, from_mapping


class TestConfig:
    @pytest.mark.parametrize(
        ("table", "url"),
        [
            ({}, "mqtt://localhost:1883"),
            ({"tls": {}}, "mqtts://localhost:8883"),
            ({"transport": "websockets"}, "ws://localhost:80/mqtt"),
            (
                {"transport": "websockets", "tls": {}, "path": "/x", "host": "::1"},
                "wss://[::1]:443/x",
            ),
            ({"port": 9, "username": "me", "password": "secret"}, "mqtt://localhost:9"),
        ],
    )
    def test_url_has_no_credentials(self, table: dict[str, Any], url: str) -> None:
        config = from_mapping(table, ConnectionConfig)
        assert config.url == url
        assert "secret" not in repr(config)

    @pytest.mark.parametrize(
        ("host", "tls", "exposed"),
        [("broker", None, True), ("broker", TlsConfig(), False), ("127.0.0.1", None, False)],
    )
    def test_a_password_on_an_open_line_is_said(
        self, host: str, tls: TlsConfig | None, exposed: bool
    ) -> None:
        config = ConnectionConfig(host, tls=tls, username="me", password=Secret(text="x"))
        assert config.exposes_password is exposed

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            ({"hots": "a"}, "did you mean 'host'"),
            ({"host": ""}, "host"),
            ({"port": 65536}, "port"),
            ({"keepalive_s": 0}, "keepalive_s"),
            ({"version": "4"}, "one of 'auto', '5', '3.1.1'"),
            ({"password": "x"}, "username"),
            ({"path": "mqtt"}, "path"),
            ({"reconnect_s": 60.0}, "reconnect_s"),
            ({"connect_timeout_s": 0.0}, "connect_timeout_s"),
            ({"refused_retry_s": 0.0}, "refused_retry_s"),
            ({"client_id": "x" * 257}, "client_id"),
            ({"tls": {"ca": "a"}}, "tls.ca"),
        ],
    )
    def test_refuses(self, table: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            from_mapping(table, ConnectionConfig)


def test_reasons_of_exceptions() -> None:
    cases = {
        socket.gaierror(-2, "Name or service not known"): Reason.UNKNOWN_HOST,
        TimeoutError(): Reason.TIMEOUT,
        ConnectionRefusedError(): Reason.REFUSED,
        ConnectionResetError(): Reason.CLOSED,
        OSError(101, "Network is unreachable"): Reason.UNREACHABLE,
        ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"): Reason.TLS,
        ValueError(): Reason.PROTOCOL,
    }
    for error, expected in cases.items():
        assert of_exception(error, "host:1", False).reason is expected
    handshake = ssl.SSLError(1, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]")
    assert of_exception(handshake, "host:1", False).reason is Reason.CLIENT_CERTIFICATE
    assert of_exception(handshake, "host:1", True).reason is Reason.TLS
    assert of_code(0x80, "Unspecified error", "left").reason is Reason.CLOSED
