"""The connection over TLS: who the broker and the client are, against a real mosquitto."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from picosam_mqtt.connection import Connection, ConnectionConfig, TlsConfig

from picosam_sdk import ConfigError


class TestTls:
    @pytest.fixture
    def files(self, ca: trustme.CA, tmp_path: Path) -> dict[str, Path]:
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        trustme.CA().cert_pem.write_to_path(tmp_path / "other-ca.pem")
        for name, authority in (("client", ca), ("foreign", trustme.CA())):
            certificate = authority.issue_cert("device@example.org")
            certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        return {path.stem: path for path in tmp_path.glob("*.pem")}

    @pytest.mark.parametrize("transport", ["tcp", "websockets"])
    @pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
    def test_connects_where_both_sides_are_who_they_say(
        self, transport: str, mutual: bool, make_broker: Any, connect: Any, ca: Any, files: Any
    ) -> None:
        broker = make_broker(
            tls=ca, require_certificate=mutual, websockets=transport == "websockets"
        )
        tls = TlsConfig(files["ca"], files["client"] if mutual else None)
        connection = connect(broker, tls=tls, transport=transport)
        assert connection.wait_connected(5), connection.stats
        connection.publish("a", b"x" * 3000, qos=1)

    def test_the_brokers_name_is_verified(
        self, make_broker: Any, connect: Any, files: Any, wait_until: Any, ca: Any
    ) -> None:
        broker = make_broker(tls=ca, names=("elsewhere.example",))
        connection = connect(broker, tls=TlsConfig(files["ca"]))
        wait_until(lambda: connection.stats["problem"] == "server-certificate")

    def test_a_broker_of_an_unknown_authority_is_refused(
        self, make_broker: Any, connect: Any, files: Any, wait_until: Any, ca: Any
    ) -> None:
        broker = make_broker(tls=ca)
        connection = connect(broker, tls=TlsConfig(files["other-ca"]))
        wait_until(lambda: connection.stats["problem"] == "server-certificate")
        assert "tls.ca_file" in connection.problem.hint

    @pytest.mark.parametrize("shown", [None, "foreign"])
    @pytest.mark.parametrize("transport", ["tcp", "websockets"])
    def test_a_missing_or_foreign_client_certificate_is_said(
        self,
        shown: str | None,
        transport: str,
        make_broker: Any,
        connect: Any,
        files: Any,
        wait_until: Any,
        ca: Any,
    ) -> None:
        broker = make_broker(tls=ca, require_certificate=True, websockets=transport == "websockets")
        tls = TlsConfig(files["ca"], files[shown] if shown else None)
        connection = connect(broker, tls=tls, transport=transport)
        wait_until(lambda: connection.problem.hint)
        assert connection.stats["problem"] == "client-certificate", str(connection.problem)
        assert ("Renew it" if shown else "tls.cert_file") in connection.problem.hint

    def test_tls_1_2_says_a_missing_certificate_in_the_handshake(
        self, ca: Any, files: Any, connect: Any, wait_until: Any
    ) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        ca.issue_cert("127.0.0.1").configure_cert(context)
        ca.configure_trust(context)

        def serve() -> None:
            sock, _ = server.accept()
            with sock, pytest.raises(ssl.SSLError):
                context.wrap_socket(sock, server_side=True)

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve)
            thread.start()
            connection = Connection(
                ConnectionConfig("127.0.0.1", server.getsockname()[1], tls=TlsConfig(files["ca"]))
            )
            connection.start()
            wait_until(lambda: connection.stats["problem"] == "client-certificate")
            connection.stop(5)
            thread.join(5)

    def test_a_port_without_tls_is_said(
        self, broker: Any, connect: Any, files: Any, wait_until: Any
    ) -> None:
        connection = connect(broker, tls=TlsConfig(files["ca"]))
        wait_until(lambda: connection.stats["problem"] in ("tls", "closed", "timeout"))
        assert not connection.connected

    def test_files_are_read_at_the_start(self, connect: Any, broker: Any, files: Any) -> None:
        with pytest.raises(ConfigError, match=r"tls\.ca_file: .*nowhere"):
            connect(broker, tls=TlsConfig(Path("nowhere.pem")))
        with pytest.raises(ConfigError, match=r"tls\.ca_file: .*certificates in PEM"):
            connect(broker, tls=TlsConfig(Path(__file__)))
        with pytest.raises(ConfigError, match=r"tls\.cert_file: .*certificate and its key"):
            connect(broker, tls=TlsConfig(files["ca"], files["ca"]))
        with pytest.raises(ConfigError, match="cert_file"):
            TlsConfig(key_file=files["client"])
