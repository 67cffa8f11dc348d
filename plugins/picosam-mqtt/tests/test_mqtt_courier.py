"""The order in which what is stored is delivered, whatever becomes of connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from picosam_mqtt.outgoing import Courier
from picosam_mqtt.reasons import DeliveryError, Reason
from picosam_mqtt.spool import Spool

LOST = DeliveryError("lost", reason=Reason.CLOSED, hint="")
REFUSED = DeliveryError("refused", reason=Reason.NOT_AUTHORIZED, hint="", refused=True)


class Scripted:
    """A connection that does as the test wants when a message is handed to it."""

    connected, connects, receive_maximum = True, 1, 100

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refused: set[int] = set()
        self.lost: set[int] = set()

    def submit(self, topic: str, payload: bytes, qos: int, *, only_in: int) -> Future[None]:
        number, done = int(payload), Future[None]()
        if only_in != self.connects:
            done.set_exception(LOST)
        elif number in self.lost:  # with its connection; the next is there at once
            self.lost.discard(number)
            self.connects += 1
            done.set_exception(LOST)
        elif number in self.refused:
            self.refused.discard(number)
            done.set_exception(REFUSED)
        else:
            self.taken.append(number)
            done.set_result(None)
        return done


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.sqlite")
    for number in range(8):
        spool.put("a", b"%d" % number)
    yield spool
    spool.close()


def _delivered(spool: Spool, connection: Any) -> list[int]:
    courier = Courier(spool, connection, window=4, retry_s=0.01)
    courier.start()
    try:
        assert courier.flush(10)
    finally:
        courier.stop()
    return list(connection.taken)


def test_none_is_sent_over_the_next_connection_before_what_this_one_lost(spool: Spool) -> None:
    connection = Scripted()
    connection.lost = {1, 6}
    assert _delivered(spool, connection) == list(range(8))


def test_what_was_taken_behind_a_refused_one_is_sent_again_behind_it(spool: Spool) -> None:
    connection = Scripted()
    connection.refused = {1}
    taken = _delivered(spool, connection)
    assert taken[:3] == [0, 2, 3]  # they were under way when it was refused
    assert taken[3:] == list(range(1, 8))
    assert spool.stats["delivered"] == 8
