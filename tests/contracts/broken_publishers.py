"""Publishers that are each wrong in one way, and the test of the contract that must notice it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from picosam_sdk import Publisher
from picosam_sdk.config import Secret
from picosam_sdk.testing.contract import PublisherContract


@dataclass(frozen=True)
class _Keyed:
    password: Secret = Secret(text="hunter2")


class GoodPublisher(Publisher):
    name = "good"
    sent = 0
    is_open = False

    def open(self) -> None:
        self.is_open = True

    def publish(self, result: Any) -> int | None:
        self.sent += 1
        return 10


class PublisherCase(PublisherContract):
    part = GoodPublisher
    wait_s = 0.5

    def delivered(self, publisher: Any) -> int:
        return publisher.sent


class BrokenSecret(PublisherCase):
    fails = "test_no_secret_shows"

    class part(GoodPublisher):  # noqa: N801
        Config = _Keyed

        @property
        def destination(self) -> str:
            return f"acme://{self.config.password.reveal()}@host"


class BrokenNeeds(PublisherCase):
    fails = "test_says_where_data_go_and_what_it_needs"

    class part(GoodPublisher):  # noqa: N801
        needs = frozenset({"everything"})


class BrokenCount(PublisherCase):
    fails = "test_counts_the_bytes_that_leave"

    class part(GoodPublisher):  # noqa: N801
        def publish(self, result: Any) -> int | None:
            self.sent += 1
            return None


class BrokenDelivery(PublisherCase):
    fails = "test_what_is_published_arrives"

    class part(GoodPublisher):  # noqa: N801
        def publish(self, result: Any) -> int | None:
            self.sent += result.frame.index != 1
            return 10


class BrokenByMask(PublisherCase):
    fails = "test_bears_results_of_a_bad_day"

    class part(GoodPublisher):  # noqa: N801
        def publish(self, result: Any) -> int | None:
            return int(result.mask.score * 1000)


class BrokenGreed(PublisherCase):
    fails = "test_asks_for_no_more_than_it_needs"

    class part(GoodPublisher):  # noqa: N801
        def publish(self, result: Any) -> int | None:
            return int(result.frame.image.size)


class BrokenHands(PublisherCase):
    fails = "test_changes_nothing_in_a_result"

    class part(GoodPublisher):  # noqa: N801
        needs = frozenset({"pixels"})

        def publish(self, result: Any) -> int | None:
            result.frame.image[:] = 0
            return 10


class BrokenOwner(PublisherCase):
    fails = "test_works_in_a_thread_of_its_own"

    class part(GoodPublisher):  # noqa: N801
        def publish(self, result: Any) -> int | None:
            if threading.current_thread() is not threading.main_thread():
                return time.sleep(1)
            return super().publish(result)


class BrokenReopening(PublisherCase):
    fails = "test_opened_again_it_goes_on"

    class part(GoodPublisher):  # noqa: N801
        closed = False

        def close(self) -> None:
            self.closed = True

        def publish(self, result: Any) -> int | None:
            return 10 if self.closed else super().publish(result)
