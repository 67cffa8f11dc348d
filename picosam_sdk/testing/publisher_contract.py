"""What every publisher must do; a test class to inherit.

::

    from picosam_sdk.testing.contract import PublisherContract

    class TestOpcUa(PublisherContract):
        part = OpcUaPublisher

        @pytest.fixture
        def options(self, server):
            return {"url": server.url}

        def delivered(self, publisher):
            return len(self.server.messages)
"""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from picosam_sdk.interfaces import Publisher
from picosam_sdk.mask import Result
from picosam_sdk.settings import Grant
from picosam_sdk.testing.part_contract import PartContract, eventually
from picosam_sdk.testing.results import a_result, odd_results

__all__ = ["PublisherContract"]


class PublisherContract(PartContract):
    """Tests of a publisher; each result carries what the publisher says that it needs."""

    part: ClassVar[type[Publisher]]

    def delivered(self, publisher: Any) -> int | None:
        """How many results have arrived where they should; None if nobody can tell."""
        return None

    @pytest.fixture
    def results(self, make: Callable[[], Any]) -> list[Result]:
        """Three results of successive frames."""
        return [a_result(index, grants=make().needs) for index in range(3)]

    def test_says_where_data_go_and_what_it_needs(self, make: Callable[[], Any]) -> None:
        publisher = make()  # unopened: 'picosam privacy' asks without opening
        assert publisher.destination.strip()
        assert publisher.needs <= set(typing.get_args(Grant))

    def test_counts_the_bytes_that_leave(self, opened: Publisher, results: list[Result]) -> None:
        counts = [opened.publish(result) for result in results]
        assert all(count is None or count > 0 for count in counts)
        assert any(counts), "nothing left at all"

    def test_what_is_published_arrives(self, opened: Publisher, results: list[Result]) -> None:
        before = self.delivered(opened)
        for result in results:
            opened.publish(result)
        assert opened.flush(self.wait_s), "not delivered in time"
        if before is not None:
            expected = before + len(results)
            assert eventually(lambda: self.delivered(opened) == expected, self.wait_s)

    @pytest.mark.parametrize("odd", list(odd_results()))
    def test_bears_results_of_a_bad_day(self, opened: Publisher, odd: str) -> None:
        opened.publish(odd_results(opened.needs)[odd])
        opened.publish(a_result(99, grants=opened.needs))
        assert opened.flush(self.wait_s)

    def test_asks_for_no_more_than_it_needs(self, opened: Publisher) -> None:
        """A result without picture and gaze is the normal case."""
        if opened.needs:
            pytest.skip(f"with these options it needs {', '.join(sorted(opened.needs))}")
        opened.publish(a_result())

    def test_changes_nothing_in_a_result(self, opened: Publisher, results: list[Result]) -> None:
        mask, image = results[0].mask, results[0].frame.image
        assert mask is not None
        logits = mask.logits.copy()
        pixels = None if image is None else image.copy()
        opened.publish(results[0])
        assert np.array_equal(mask.logits, logits)
        assert pixels is None or np.array_equal(image, pixels)  # type: ignore[arg-type]

    def test_works_in_a_thread_of_its_own(
        self, make: Callable[[], Any], results: list[Result]
    ) -> None:
        publisher = make()
        sent: list[int | None] = []

        def run() -> None:
            publisher.open()
            sent.extend(publisher.publish(result) for result in results)
            publisher.flush(self.wait_s)
            publisher.close()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(self.wait_s)
        assert not thread.is_alive()
        assert len(sent) == len(results)

    def test_opened_again_it_goes_on(self, opened: Publisher, results: list[Result]) -> None:
        opened.publish(results[0])
        opened.flush(self.wait_s)
        opened.close()
        opened.open()
        before = self.delivered(opened)
        opened.publish(results[1])
        assert opened.flush(self.wait_s)
        if before is not None:
            assert eventually(lambda: self.delivered(opened) == before + 1, self.wait_s)
