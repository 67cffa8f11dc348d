"""Everything that speaks TLS speaks 1.2 or newer, and only with whom it can verify.

Real handshakes on loopback, with each of the contexts that the packages make. What a whole
connection says of a refusal is in test_mqtt_connection.py.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from picosam_gaze.sources import mqtt as gaze_mqtt
from picosam_mqtt.settings import ConnectionConfig, TlsConfig
from picosam_mqtt.tail import tls_context

from picosam_sdk import ConfigError
from picosam_sdk.config import from_mapping

Make = Callable[[Path], ssl.SSLContext]

CONTEXTS: dict[str, Make] = {
    "publisher and ROI source": lambda ca: TlsConfig(ca).context(),
    "gaze source": lambda ca: gaze_mqtt._tls_context(
        gaze_mqtt.MqttConfig(topic="gaze", tls=True, ca=ca)
    ),
    "picosam-mqtt tail": lambda ca: tls_context(ca, None, None),
}
CONFIGS = [TlsConfig, ConnectionConfig, gaze_mqtt.MqttConfig]


@pytest.fixture(params=CONTEXTS)
def make(request: pytest.FixtureRequest) -> Make:
    return CONTEXTS[request.param]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def _server_context(ca: trustme.CA, name: str, newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL itself would refuse TLS 1.1
    return context


@contextmanager
def _server(
    ca: trustme.CA, name: str = "localhost", newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[int]:
    """Answers one client on loopback, as ``name``; its port."""
    context = _server_context(ca, name, newest)

    def answer() -> None:
        try:
            client, _ = listener.accept()
            with client, context.wrap_socket(client, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
    thread.join()


def _shake(context: ssl.SSLContext, port: int) -> str:
    """Connects to it as localhost; the version of TLS that was spoken."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.send(b"x")
        return str(secure.version())


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_is_who_it_says_is_spoken_to(
    make: Make, ca: trustme.CA, ca_file: Path, newest: ssl.TLSVersion
) -> None:
    with _server(ca, newest=newest) as port:
        assert _shake(make(ca_file), port).replace(".", "_") == newest.name


def test_tls_1_1_is_refused(make: Make, ca: trustme.CA, ca_file: Path) -> None:
    with _server(ca, newest=ssl.TLSVersion.TLSv1_1) as port, pytest.raises(ssl.SSLError):
        _shake(make(ca_file), port)


def test_a_client_that_allowed_it_would_speak_tls_1_1(ca: trustme.CA, ca_file: Path) -> None:
    """So that the test above cannot pass for another reason."""
    context = ssl.create_default_context(cafile=ca_file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with _server(ca, newest=ssl.TLSVersion.TLSv1_1) as port:
        assert _shake(context, port) == "TLSv1.1"


def test_another_name_is_refused(make: Make, ca: trustme.CA, ca_file: Path) -> None:
    with (
        _server(ca, "elsewhere.example") as port,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        _shake(make(ca_file), port)


def test_an_unknown_authority_is_refused(make: Make, ca_file: Path) -> None:
    with (
        _server(trustme.CA()) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="verify failed"),
    ):
        _shake(make(ca_file), port)


def test_verification_is_on_whatever_the_authorities(make: Make, ca_file: Path) -> None:
    context = make(ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("key", ["verify", "insecure", "check_hostname", "tls_insecure"])
def test_no_key_turns_it_off(config: type, key: str) -> None:
    """An unknown key is an error; none of the known ones is about verification."""
    with pytest.raises(ConfigError, match=f"{key}: unknown key"):
        from_mapping({"topic": "gaze", key: False} if "Mqtt" in config.__name__ else {key: False},
                     config)  # fmt: skip
    names = " ".join(field.name for field in dataclasses.fields(config))
    assert re.search(r"verif|insecure|hostname|trust", names) is None
