"""Servers of video streams for tests: RTSP with RTP inside its connection, and JPEGs over HTTP.

Frame n is all of the gray value ``shade(n)``, so that a reader can tell which frame it got.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import socket
import struct
import threading
import time
from typing import Any

import cv2
import numpy as np

__all__ = ["HttpJpegServer", "RtspServer", "shade"]

FPS = 200  # a reader looks at many frames before it says that a stream is open
SIZE_PX = (64, 48)


def shade(number: int) -> int:
    """The gray value of a frame: 10, 20 ... 240, and from the beginning."""
    return 10 + 10 * (number % 24)


def _jpeg(number: int) -> bytes:
    return _gray_jpeg(shade(number))


@functools.cache
def _gray_jpeg(value: int) -> bytes:
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), value, np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


class _Server:
    """Accepts connections, each served in a thread; sends frames until it is told otherwise."""

    path = ""

    def __init__(self, userinfo: str = "") -> None:
        self.userinfo = userinfo
        self.requests: list[str] = []
        self.sent = 0
        self.stalled = threading.Event()
        self._closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def drop(self) -> None:
        """Cuts all connections."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it; may be called more than once."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.drop()
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve_safely, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve_safely(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the reader goes away, as it may
            self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def request(self, connection: socket.socket) -> str:
        """The head of the next request; "" at the end. Binary packets of RTCP are passed over."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return ""
            if byte == b"$" and not head:
                _, length = struct.unpack(">BH", _exactly(connection, 3))
                _exactly(connection, length)
                continue
            head += byte
        text = head.decode()
        self.requests.append(text)
        return text

    def allowed(self, request: str) -> bool:
        if not self.userinfo:
            return True
        expected = base64.b64encode(self.userinfo.encode()).decode()
        return f"Authorization: Basic {expected}" in request

    def frames(self) -> Any:
        """Numbers of the frames to send, at the frames' rate."""
        while not self._closed.is_set():
            if not self.stalled.is_set():
                yield self.sent
                self.sent += 1
            time.sleep(1 / FPS)


class HttpJpegServer(_Server):
    """Motion JPEG as network cameras send it: multipart/x-mixed-replace."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video.mjpg"

    def serve(self, connection: socket.socket) -> None:
        request = self.request(connection)
        if not self.allowed(request):
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
                               b'WWW-Authenticate: Basic realm="x"\r\n\r\n')  # fmt: skip
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: "
                           b"multipart/x-mixed-replace; boundary=frame\r\n\r\n")  # fmt: skip
        for number in self.frames():
            jpeg = _jpeg(number)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            connection.sendall(head.encode() + jpeg + b"\r\n")


class RtspServer(_Server):
    """RTSP 1.0 (RFC 2326) that sends JPEG over RTP (RFC 2435), interleaved."""

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def serve(self, connection: socket.socket) -> None:
        while request := self.request(connection):
            method = request.split(" ", 1)[0]
            number = re.search(r"CSeq: *(\d+)", request, re.IGNORECASE)
            head = f"CSeq: {number.group(1) if number else 0}\r\nSession: 1234\r\n"
            if not self.allowed(request) and method != "OPTIONS":
                connection.sendall(f'RTSP/1.0 401 Unauthorized\r\n{head}WWW-Authenticate: Basic '
                                   'realm="x"\r\n\r\n'.encode())  # fmt: skip
                continue
            body = ""
            if method == "OPTIONS":
                head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n"
            elif method == "DESCRIBE":
                body = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
                        "m=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\n"
                        f"a=framerate:{FPS}\r\na=control:track\r\n")  # fmt: skip
                head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            connection.sendall(f"RTSP/1.0 200 OK\r\n{head}\r\n{body}".encode())
            if method == "PLAY":
                player = threading.Thread(target=self._play, args=(connection,))
                self._threads.append(player)
                player.start()

    def _play(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the reader goes away, as it may
            for number in self.frames():
                connection.sendall(b"".join(_rtp(number)))


def _rtp(number: int) -> list[bytes]:
    """The interleaved packets of one frame; it fits into one."""
    jpeg = _jpeg(number)
    tables, position = b"", 2
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, position)
        segment = jpeg[position + 4 : position + 2 + length]
        if marker == 0xFFDB:  # quantisation tables, each behind its number
            while segment:
                tables, segment = tables + segment[1:65], segment[65:]
        position += 2 + length
        if marker == 0xFFDA:
            break
    scan = jpeg[position:-2]
    kind = 1  # 4:2:0, as OpenCV writes it
    head = struct.pack(">IBBBB", 0, kind, 255, SIZE_PX[0] // 8, SIZE_PX[1] // 8)
    payload = head + struct.pack(">BBH", 0, 0, len(tables)) + tables + scan
    stamp = number * 90_000 // FPS & 0xFFFFFFFF
    packet = struct.pack(">BBHII", 0x80, 0x80 | 26, number & 0xFFFF, stamp, 7) + payload
    return [b"$" + struct.pack(">BH", 0, len(packet)), packet]


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the reader went away")
        data += more
    return data
