"""Every error the SDK raises on purpose.

::

    PicoSamError                  .hint: what to do next
    ├── InputError                an image, ROI, point or annotation is unusable (also a ValueError)
    ├── ConfigError               names the key: "train.batch_size"
    ├── PluginError               broken or duplicate
    │   └── UnknownPluginError    lists what there is
    ├── MissingExtraError         gives the install line (also an ImportError)
    ├── ModelError                unreadable, wrong shape, hash or card mismatch
    ├── BackendError              a backend failed while it ran
    │   ├── UnavailableError      it cannot be opened on this machine
    │   ├── BackendTimeoutError   it did not answer in time (also a TimeoutError)
    │   ├── RoiRejectedError      a sensor did not take a ROI
    │   └── UnsupportedError      it cannot do what was asked, by its nature
    ├── CameraError               a camera cannot be opened, or stopped giving pictures
    ├── EgressError               something that was not granted was about to leave
    └── PublishError              a publisher could not deliver; never stops the loop
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BackendTimeoutError",
    "CameraError",
    "ConfigError",
    "EgressError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "PicoSamError",
    "PluginError",
    "PublishError",
    "RoiRejectedError",
    "UnavailableError",
    "UnknownPluginError",
    "UnsupportedError",
]


class PicoSamError(Exception):
    """Base of all errors of the SDK.

    Args:
        message: what was expected and what came.
        hint: what the user can do next, as an imperative sentence.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(PicoSamError, ValueError):
    """The caller handed over an image, ROI, point or annotation that cannot be used."""


class ConfigError(PicoSamError, ValueError):
    """A configuration value is missing, unknown or out of range; the message names its key."""


class PluginError(PicoSamError):
    """A plugin is broken, or two plugins claim the same name."""


class UnknownPluginError(PluginError):
    """No plugin has the requested name; the message lists those that exist."""


class MissingExtraError(PicoSamError, ImportError):
    """An optional dependency is not installed; the hint is its install line.

    Args:
        module: the module that could not be imported.
        extra: the extra of ``picosam-sdk`` that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"this needs the module '{module}', which is not installed",
            hint=f"Install it with: pip install 'picosam-sdk[{extra}]'",
        )


class ModelError(PicoSamError):
    """A model file is unreadable, has the wrong shape, or does not match its card."""


class BackendError(PicoSamError):
    """A backend failed while it was running."""


class UnavailableError(BackendError):
    """A backend exists but cannot be opened on this machine; the message says why."""


class BackendTimeoutError(BackendError, TimeoutError):
    """A backend did not answer in time; the message says what was waited for and tried."""


class RoiRejectedError(BackendError):
    """A sensor did not take a ROI as it was written; it gives no masks until one is taken."""


class UnsupportedError(BackendError):
    """A backend cannot do what was asked: a sensor takes no picture, a host has no camera."""


class CameraError(PicoSamError):
    """A camera cannot be opened, or gives no more pictures though it should."""


class EgressError(PicoSamError):
    """Something that the configuration did not grant was asked for, or was about to leave."""


class PublishError(PicoSamError):
    """A publisher could not deliver a result; it is counted and tried again, the loop goes on."""
