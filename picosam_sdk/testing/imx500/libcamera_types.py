"""The values that libcamera's Python module passes around: enums, controls, configurations.

Names, argument orders and defects are libcamera's; docstrings say what a name alone does not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from picosam_sdk.testing.imx500.geometry_types import Rectangle, Size

__all__ = [
    "CameraConfiguration",
    "ColorSpace",
    "ControlId",
    "ControlInfo",
    "ControlType",
    "Orientation",
    "PixelFormat",
    "SensorConfiguration",
    "Stream",
    "StreamConfiguration",
    "StreamRole",
    "Transform",
    "controls",
    "properties",
]

SENSOR = Size(4056, 3040)
MODES = ((2028, 1520), (4056, 3040))
RAW_FORMATS = ("SRGGB10_CSI2P", "SRGGB10")


class StreamRole(enum.Enum):
    Raw, StillCapture, VideoRecording, Viewfinder = range(4)


class ControlType(enum.Enum):
    Null, Bool, Byte, Integer32, Integer64, Float, String, Rectangle, Size, Point = range(10)


class Orientation(enum.Enum):
    (
        Rotate0, Rotate0Mirror, Rotate180, Rotate180Mirror,
        Rotate90Mirror, Rotate270, Rotate270Mirror, Rotate90,
    ) = range(1, 9)  # fmt: skip


class Transform:
    def __init__(
        self, rotation: Any = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False
    ) -> None:
        if isinstance(rotation, Transform):
            hflip, vflip, transpose = rotation.hflip, rotation.vflip, rotation.transpose
        self.hflip: bool = bool(hflip)
        self.vflip: bool = bool(vflip)
        self.transpose: bool = bool(transpose)

    def __str__(self) -> str:
        flips = [name for name in ("hflip", "vflip", "transpose") if getattr(self, name)]
        return f"<libcamera.Transform '{','.join(flips) or 'identity'}'>"


class ColorSpace:
    class Primaries(enum.Enum):
        Raw, Smpte170m, Rec709, Rec2020 = range(4)

    class TransferFunction(enum.Enum):
        Linear, Srgb, Rec709 = range(3)

    class YcbcrEncoding(enum.Enum):
        Null, Rec601, Rec709, Rec2020 = range(4)

    class Range(enum.Enum):
        Full, Limited = range(2)

    def __init__(self, primaries: Any, *rest: Any) -> None:
        values: tuple[Any, ...] = (primaries, *rest)
        if isinstance(primaries, ColorSpace):
            values = tuple(vars(primaries).values())
        self.primaries: Any = values[0]
        self.transferFunction: Any = values[1]
        self.ycbcrEncoding: Any = values[2]
        self.range: Any = values[3]

    def __str__(self) -> str:
        return f"<libcamera.ColorSpace '{self.primaries.name}'>"

    @classmethod
    def _make(cls, primaries: str, transfer: str, encoding: str, limited: bool) -> ColorSpace:
        return cls(
            cls.Primaries[primaries],
            cls.TransferFunction[transfer],
            cls.YcbcrEncoding[encoding],
            cls.Range.Limited if limited else cls.Range.Full,
        )

    @classmethod
    def Raw(cls) -> ColorSpace:  # noqa: N802
        return cls._make("Raw", "Linear", "Null", False)

    @classmethod
    def Sycc(cls) -> ColorSpace:  # noqa: N802
        return cls._make("Rec709", "Srgb", "Rec601", False)

    @classmethod
    def Smpte170m(cls) -> ColorSpace:  # noqa: N802
        return cls._make("Smpte170m", "Rec709", "Rec601", True)

    @classmethod
    def Rec709(cls) -> ColorSpace:  # noqa: N802
        return cls._make("Rec709", "Rec709", "Rec709", True)


class PixelFormat:
    def __init__(self, name: str = "") -> None:
        self._name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PixelFormat) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __str__(self) -> str:
        return self._name


class ControlId:
    def __init__(self, name: str, kind: ControlType) -> None:
        self.name, self.type = name, kind

    def __repr__(self) -> str:
        return f"libcamera.ControlId({self.name})"


class ControlInfo:
    def __init__(self, low: Any, high: Any, default: Any) -> None:
        self.min, self.max, self.default = low, high, default


class _NoiseReductionModeEnum(enum.Enum):
    Off, Fast, HighQuality, Minimal, ZSL = range(5)


class _ColorFilterArrangementEnum(enum.Enum):
    RGGB, GRBG, GBRG, BGGR, RGB, MONO = range(6)


def _controls() -> SimpleNamespace:
    kinds = {
        ControlType.Integer32: ("ExposureTime", "ExposureTimeMode", "AnalogueGainMode",
                                "NoiseReductionMode", "FrameDuration", "CnnKpiInfo"),
        ControlType.Integer64: ("SensorTimestamp", "FrameDurationLimits"),
        ControlType.Float: ("AnalogueGain", "SensorTemperature", "CnnOutputTensor"),
        ControlType.Rectangle: ("ScalerCrop", "ScalerCrops"),
        ControlType.Byte: ("CnnOutputTensorInfo", "CnnInputTensor", "CnnInputTensorInfo"),
        ControlType.Bool: ("CnnEnableInputTensor",),
    }  # fmt: skip
    ids = {name: ControlId(name, kind) for kind, names in kinds.items() for name in names}
    draft = SimpleNamespace(NoiseReductionModeEnum=_NoiseReductionModeEnum)
    return SimpleNamespace(draft=draft, **ids)


controls = _controls()

properties = SimpleNamespace(
    draft=SimpleNamespace(ColorFilterArrangementEnum=_ColorFilterArrangementEnum),
    Model=ControlId("Model", ControlType.String),
    Location=ControlId("Location", ControlType.Integer32),
    Rotation=ControlId("Rotation", ControlType.Integer32),
    ColorFilterArrangement=ControlId("ColorFilterArrangement", ControlType.Integer32),
    PixelArraySize=ControlId("PixelArraySize", ControlType.Size),
)


class SensorConfiguration:
    def __init__(self) -> None:
        self.bit_depth = 0
        self.output_size = Size()
        self.analog_crop = Rectangle()


class _StreamFormats:
    """What a raw stream may be."""

    def __init__(self) -> None:
        self.pixel_formats = [PixelFormat(name) for name in RAW_FORMATS]

    def sizes(self, _pixel_format: PixelFormat) -> list[Size]:
        return [Size(*mode) for mode in MODES]


class Stream:
    """Known by its identity."""

    def __init__(self, configuration: StreamConfiguration) -> None:
        self.configuration = configuration


class StreamConfiguration:
    def __init__(self, role: StreamRole) -> None:
        self.role = role
        self.size = Size(640, 480)
        self.pixel_format = PixelFormat("XBGR8888")
        self.stride = self.frame_size = 0
        self.buffer_count = 4
        self.color_space: ColorSpace | None = None
        self.formats = _StreamFormats()
        self.stream = Stream(self)

    def layout(self) -> None:
        """Sets stride and frame size as the image processor wants them."""
        name, width, height = str(self.pixel_format), self.size.width, self.size.height
        if name in RAW_FORMATS:
            row = width * 5 // 4 if name.endswith("CSI2P") else width * 2
            self.stride = -(-row // 32) * 32
            self.frame_size = self.stride * height
        elif name in ("YUV420", "YVU420"):
            self.stride = -(-width // 64) * 64
            self.frame_size = self.stride * height * 3 // 2
        else:
            row = width * (3 if name in ("RGB888", "BGR888") else 4)
            self.stride = -(-row // 64) * 64
            self.frame_size = self.stride * height


class CameraConfiguration:
    class Status(enum.Enum):
        Valid, Adjusted, Invalid = range(3)

    def __init__(self, roles: list[StreamRole]) -> None:
        self._streams = [StreamConfiguration(role) for role in roles]
        self.sensor_config: SensorConfiguration | None = None
        self.orientation = Orientation.Rotate0

    def __iter__(self) -> Iterator[StreamConfiguration]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def at(self, index: int) -> StreamConfiguration:
        return self._streams[index]

    @property
    def mode(self) -> tuple[int, int]:
        """Size of the sensor's picture."""
        wanted = self.sensor_config.output_size if self.sensor_config else Size(*MODES[0])
        return min(MODES, key=lambda mode: abs(mode[0] - wanted.width))

    def validate(self) -> CameraConfiguration.Status:
        if not self._streams:
            return self.Status.Invalid
        status = self.Status.Valid
        for stream in self._streams:
            if stream.role is StreamRole.Raw and (stream.size.width, stream.size.height) != (
                self.mode
            ):
                stream.size = Size(*self.mode)
                status = self.Status.Adjusted
            stream.layout()
        return status
