"""How the connection's socket is set up."""

from __future__ import annotations

import socket

from picosam_mqtt.link import _Client


def test_small_messages_do_not_wait_for_each_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = _Client()
        client._host, client._port = server.getsockname()
        sock = client._create_socket_connection()
        try:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert client.sockets == [sock]
        finally:
            sock.close()
