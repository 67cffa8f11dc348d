"""The gate that every result passes on its way to one recipient."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from traceback import format_tb
from typing import Any

import numpy as np

from picosam_sdk.egress import redact
from picosam_sdk.egress.audit import Audit
from picosam_sdk.egress.schedule import Rate, Windows
from picosam_sdk.errors import EgressError
from picosam_sdk.mask import Mask, Result
from picosam_sdk.settings import EgressRule
from picosam_sdk.types import Frame, ImageArray, Roi, size_of

__all__ = ["Gate", "check_needs", "forget_frames", "image_grant"]

_log = logging.getLogger(__name__)


def image_grant(rule: EgressRule) -> str:
    """The grant under which images leave: of several, pixels, then redacted, then cutout."""
    for grant in ("pixels", "redacted", "cutout"):
        if grant in rule.grants:
            return grant
    return ""


def check_needs(part: Any, rule: EgressRule, key: str) -> None:
    """Refuses a part that needs what its table does not grant.

    Args:
        part: a publisher, or anything else that may say what it ``needs``.
        rule: of its table.
        key: of its table, such as "publish[0]".

    Raises:
        EgressError: something that it needs is not granted.
    """
    missing = sorted(str(need) for need in getattr(part, "needs", ()) if need not in rule.grants)
    if missing:
        grants = ", ".join(f'"{grant}"' for grant in (*rule.grants, *missing))
        raise EgressError(
            f"{key}.egress.grants: expected {' and '.join(missing)}, without which "
            f"'{part.name}' has nothing to do as it is configured, got {list(rule.grants)}",
            hint=f"If it may have that, add to its table: egress = {{ grants = [{grants}] }}",
        )


def forget_frames(error: BaseException) -> None:
    """Takes the traceback from an error that came out of a plugin, before anything else is done.

    A plugin that keeps what it raised would find there the frames that the error went through,
    and in their local variables what was not meant for it. For its author, the traceback is
    logged as text at the level DEBUG.
    """
    # Not by the error's own methods, which its class may have overridden.
    trace = vars(BaseException)["__traceback__"].__get__(error)
    BaseException.with_traceback(error, None)
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s came from:\n%s", type(error).__name__, "".join(format_tb(trace)))


class Gate:
    """Lets through to one recipient what its rule grants, and counts what it keeps back.

    What comes out is made anew down to the last array: it refers to nothing that went in, so
    that nothing can be reached from it, and what the recipient does to it changes nothing else.

    Args:
        recipient: its name, in the audit log.
        rule: what it may have.
        audit: where its grants are written now, and its counts from then on.
        destination: where its data go, for the audit log.
        wall_clock: the local time of day, for windows.
    """

    def __init__(
        self,
        recipient: str,
        rule: EgressRule,
        audit: Audit | None = None,
        *,
        destination: str = "",
        wall_clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.recipient, self.rule = recipient, replace(rule)
        self._audit = audit
        self._image_grant = image_grant(rule)
        self._zones = [Roi(*zone) for zone in rule.privacy_masks]
        self._windows = Windows(rule.windows, wall_clock)
        self._rate = Rate(rule.max_rate_hz)
        self._lock = threading.Lock()
        self._withheld: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        if audit is not None:
            audit.record(
                "grant",
                recipient=recipient,
                destination=destination,
                grants=list(rule.grants),
                rate_hz=rule.max_rate_hz,
                windows=list(rule.windows),
            )
            audit.watch(self._for_audit)

    def admit(self, result: Result, now_ns: int) -> Result | None:
        """What of a result may go on to :meth:`release`. Cheap: it runs in the frame loop.

        Args:
            result: as the pipeline made it.
            now_ns: the monotonic clock.

        Returns:
            A result without what is not granted; a picture that may leave in part only is still
            whole. None if nothing may leave now.
        """
        closed = self._windows.closed() or self._rate.too_soon(now_ns)
        if closed:
            self._withhold(f"result_{closed}")
            return None
        rule, prompted_by_gaze = self.rule, result.gaze is not None or "gaze" in result.ages_ns
        # Without its audit log, nothing beyond masks and numbers leaves.
        audited = self._audit is None or not self._audit.failed
        with_gaze = audited and "gaze" in rule.grants
        mask = self._own(result.mask)
        too_small = mask is not None and rule.min_area > 0 and _area(mask) < rule.min_area
        if too_small:
            self._withhold("mask_min_area")
            mask = None
        if prompted_by_gaze and not with_gaze and mask is not None:
            mask = redact.trim(mask)
        hide_prompt = too_small or rule.coarsen > 0 or (prompted_by_gaze and not with_gaze)
        if hide_prompt:
            mask = None if mask is None else replace(mask, prompt=None)
            self._withhold("prompt", result.roi is not None)
        self._withhold("gaze" if audited else "gaze_no_audit", prompted_by_gaze and not with_gaze)
        self._total("admitted")
        return Result(
            frame=Frame(
                self._image(result.frame.image, mask, too_small, audited),
                int(result.frame.timestamp_ns),
                int(result.frame.index),
            ),
            mask=mask,
            roi=None if hide_prompt or result.roi is None else replace(result.roi),
            timings_ms={str(key): float(value) for key, value in result.timings_ms.items()},
            ages_ns={str(key): int(value) for key, value in result.ages_ns.items()},
            settling=bool(result.settling),
            region=str(result.region),
            gaze=replace(result.gaze) if with_gaze and result.gaze is not None else None,
        )

    def release(self, result: Result) -> Result | None:
        """Makes of an admitted result what the recipient gets. For the recipient's own thread.

        Call it before each attempt to deliver.

        Returns:
            The result, with ``image_grant`` saying what its image is. None if it waited so long
            that the time of day in which it might leave is over.
        """
        closed = self._windows.closed()
        if closed:
            self._withhold(f"result_{closed}")
            return None
        frame, mask = result.frame, result.mask
        image = None if frame.image is None else self._redacted(frame.image, mask)
        if mask is not None and self.rule.coarsen:
            mask = redact.coarsen(mask, self.rule.coarsen)
        return replace(
            result,
            frame=replace(frame, image=image),
            mask=mask,
            image_grant="" if image is None else self._image_grant,
        )

    def sent(self, n_bytes: int | None) -> None:
        """Counts a result that was delivered.

        Args:
            n_bytes: how many bytes left, as the publisher says; None: nothing left. What is no
                such number counts as 0: a plugin may return anything.
        """
        if n_bytes is None:
            return
        try:
            n_bytes = max(0, int(n_bytes))
        except (TypeError, ValueError, OverflowError):
            n_bytes = 0
        self._total("sent")
        self._total("bytes", n_bytes)

    @property
    def stats(self) -> dict[str, Any]:
        """Counts since the start: results admitted and sent, bytes, images by grant, and what
        was withheld by reason.
        """
        with self._lock:
            return {
                "admitted": self._totals["admitted"],
                "sent": self._totals["sent"],
                "bytes": self._totals["bytes"],
                "images": dict(self._images),
                "withheld": dict(self._withheld),
            }

    def _own(self, mask: Mask | None) -> Mask | None:
        """A mask of our own class with an array of its own, whatever a plugin returned."""
        if mask is None:
            return None
        own = Mask(
            logits=np.asarray(mask.logits),
            roi=replace(mask.roi),
            score=float(mask.score),
            size_px=mask.size_px,
            prompt=None if mask.prompt is None else replace(mask.prompt),
            threshold=float(mask.threshold),
        )
        return redact.clear_zones(own, self._zones) if self._zones else own

    def _image(
        self, image: ImageArray | None, mask: Mask | None, too_small: bool, audited: bool
    ) -> ImageArray | None:
        """The image if it may leave, whole or in part; otherwise None, and a reason counted."""
        if image is None:
            return None
        grant = self._image_grant
        if not grant:
            self._withhold("image")
        elif not audited:
            self._withhold("image_no_audit")
        elif too_small:
            self._withhold("image_min_area")
        elif grant != "pixels" and mask is None:
            self._withhold("image_no_mask")
        elif grant != "pixels" and mask is not None and mask.size_px != size_of(image):
            self._withhold("image_size")
        else:
            with self._lock:
                self._images[grant] += 1
            return image
        return None

    def _redacted(self, image: ImageArray, mask: Mask | None) -> ImageArray | None:
        """A picture of its own, with what may be seen of this one."""
        if self._zones or self._image_grant == "pixels":
            image = np.array(image)
            redact.blank_zones(image, self._zones)
        if self._image_grant == "pixels":
            return image
        if mask is None:
            return None
        if self._image_grant == "cutout" or self.rule.redaction == "blank":
            return redact.cutout(image, mask.paste())
        out = redact.blur_outside(image, mask.paste())
        redact.blank_zones(out, self._zones)
        return out

    def _withhold(self, reason: str, count: bool = True) -> None:
        if count:
            with self._lock:
                self._withheld[reason] += 1

    def _total(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._totals[name] += count

    def _for_audit(self) -> dict[str, Any]:
        return {"recipient": self.recipient, **self.stats}


def _area(mask: Mask) -> float:
    """Share of the view that a mask covers, from its logits as they are."""
    box = mask.roi.to_pixels(*mask.size_px)
    share = np.count_nonzero(mask.logits > mask.threshold) / mask.logits.size
    return float(share * box.width * box.height / (mask.size_px[0] * mask.size_px[1]))
