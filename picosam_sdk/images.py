"""Pictures in and out: whatever the user has becomes uint8 (H, W, 3) RGB, or a clear error.

Alpha is dropped, alike for arrays, files and PIL images: the colours stored under transparent
pixels show. A file's EXIF orientation is applied; an array or a PIL image is taken as it is,
since prompts in pixels refer to what the caller sees.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.limits import read_limited
from picosam_sdk.types import ImageArray

__all__ = ["MAX_BYTES", "MAX_PIXELS", "check_picture", "load_image", "save_image"]

MAX_PIXELS = 200_000_000
"""The largest picture that is read: 600 MB of RGB, above the largest camera of a phone."""

MAX_BYTES = 1 << 29
"""The longest file of a picture that is read."""

# In a JPEG's compressed data: a marker that is neither a stuffed 0xFF, a restart nor a fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def load_image(source: Any) -> ImageArray:
    """Makes a picture of what the caller has.

    Args:
        source: a uint8 array, (H, W, 3) RGB (returned as it is, not copied), (H, W) or (H, W, 1)
            gray, or (H, W, 4) RGBA; the path of a JPEG, PNG or WebP file; or a PIL image.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        InputError: it is none of these, empty, unreadable, damaged, or above MAX_PIXELS or
            MAX_BYTES.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source))
    if callable(getattr(source, "convert", None)) and hasattr(source, "size"):
        return _from_pil(source)
    raise InputError(
        f"expected a picture (a uint8 array, a path or a PIL image), got {type(source).__name__}",
        hint="Check that the camera or file gave a picture, or pass its path.",
    )


def save_image(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Writes a picture; the name's ending says how, ``.png`` or ``.jpg``.

    Args:
        image: uint8 (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA.
        path: where to; a file that is there is replaced.

    Raises:
        InputError: the ending is another one, or the file cannot be written.
    """
    import cv2

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise InputError(
            f"expected a file name that ends in .png or .jpg, got {path}",
            hint=f"Write to {path.with_suffix('.png') if path.name else 'mask.png'} instead.",
        )
    stored: Any = image
    if image.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
        stored = cv2.cvtColor(image, code)
    _, data = cv2.imencode(suffix, stored)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(
            f"expected to write a picture to {path}, got: {error.strerror}",
            hint="Check that its folder exists and that you may write there.",
        ) from error


def _from_array(array: NDArray[Any]) -> ImageArray:
    if array.dtype != np.uint8:
        raise InputError(
            f"expected an image of uint8 values 0 to 255, got {array.dtype} {array.shape}",
            hint=_conversion(array.dtype),
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or (channels not in (1, 3, 4) and array.size):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise InputError(
            f"expected an image of shape (height, width, 3) in RGB, got {array.shape}",
            hint="Move the channels to the end: image.transpose(1, 2, 0)."
            if first
            else "Pass one picture: (H, W, 3) RGB, (H, W) gray or (H, W, 4) RGBA.",
        )
    if array.size == 0:
        raise InputError(
            f"expected an image of at least 1 x 1 pixels, got shape {array.shape}",
            hint="Check that the picture was read.",
        )
    _check_size(array.shape[1], array.shape[0], "the array")
    if channels == 3:
        return array
    if channels == 4:
        return array[:, :, :3]
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def _conversion(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return (
            "Convert values from 0 to 1 with (image * 255).round().astype(np.uint8), "
            "values from 0 to 255 with image.round().astype(np.uint8)."
        )
    if dtype == np.uint16:
        return "Convert 16-bit values with (image // 256).astype(np.uint8)."
    if dtype == np.bool_:
        return "Convert it with image.astype(np.uint8) * 255."
    return "Convert values from 0 to 255 with image.astype(np.uint8)."


def _from_pil(picture: Any) -> ImageArray:
    width_px, height_px = picture.size
    _check_size(width_px, height_px, "the PIL image")
    try:
        return _from_array(np.asarray(picture.convert("RGB")))
    except OSError as error:  # PIL reads the file only now
        raise InputError(
            f"expected a PIL image that can be read, got: {error}",
            hint="Check its file; it may be incomplete.",
        ) from error


def _from_file(path: Path) -> ImageArray:
    import cv2

    data = _read(path)
    check_picture(data, path)
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # above OpenCV's own limits
        image = None
    if image is None:
        raise _damaged(path)
    _check_size(image.shape[1], image.shape[0], str(path))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def check_picture(data: bytes, path: Path) -> None:
    """Refuses a file that must not be decoded, by its header and the marks of its parts.

    Args:
        data: bytes of the file.
        path: what to call it in an error.

    Raises:
        InputError: it is no JPEG, PNG or WebP, is cut off, or above MAX_PIXELS.
    """
    _check_size(*_header(data, path), str(path))


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(
                f"expected a picture file, got the directory {path}",
                hint="Give one file of that directory.",
            )
        if not stat.S_ISREG(mode):
            raise InputError(
                f"expected a picture file, got {path}, which is not a regular file",
                hint="Save the picture to a file first.",
            )
        data = read_limited(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise InputError(
            f"expected a picture file, got {path}, which does not exist",
            hint="Check the path; relative ones start at the current directory.",
        ) from error
    except PermissionError as error:
        raise InputError(
            f"expected a picture file that can be read, got {path}: permission denied",
            hint="Allow yourself to read it, as with chmod u+r.",
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected a picture file, got {str(path)!r}: {error}", hint="Check the path."
        ) from error
    if not data:
        raise InputError(
            f"expected a picture file, got {path}, which is empty",
            hint="Copy or download it again.",
        )
    return data


def _check_size(width_px: int, height_px: int, what: str) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"expected a picture of at most {MAX_PIXELS} pixels, "
            f"got {width_px} x {height_px} in {what}",
            hint="Scale it down first; a mask does not get better above some megapixels.",
        )


def _header(data: bytes, path: Path) -> tuple[int, int]:
    """Walks through a file's parts to its end mark: (width_px, height_px), (0, 0) if not told.

    Most versions of OpenCV decode a JPEG that was cut off to a picture that is partly gray and
    say nothing, so such a file is refused here. Other formats are not read at all: some can ask
    for gigabytes in a few bytes.
    """
    walks = {b"\xff\xd8\xff": _walk_jpeg, b"\x89PNG\r\n\x1a\n": _walk_png, b"RIFF": _walk_webp}
    for signature, walk in walks.items():
        if data.startswith(signature):
            try:
                return walk(data)
            except (IndexError, ValueError) as error:
                raise _damaged(path) from error
    raise InputError(
        f"expected a JPEG, PNG or WebP file, got {path}, which is none of them",
        hint="Convert it to PNG, or open it with PIL and pass that image.",
    )


def _damaged(path: Path) -> InputError:
    return InputError(
        f"expected a complete picture file, got {path}, which is truncated or damaged",
        hint="Copy or download it again.",
    )


def _walk_png(data: bytes) -> tuple[int, int]:
    position = 8
    size_px = (0, 0)
    while True:
        length, kind = _number(data, position, 4), data[position + 4 : position + 8]
        body_end = position + 8 + length
        checksum = _number(data, body_end, 4)
        if kind[:1].isupper() and zlib.crc32(data[position + 4 : body_end]) != checksum:
            raise ValueError("wrong checksum")
        if kind == b"IHDR":
            size_px = _larger(
                size_px, (_number(data, position + 8, 4), _number(data, position + 12, 4))
            )
        if kind == b"IEND":
            return size_px
        position = body_end + 4


def _walk_jpeg(data: bytes) -> tuple[int, int]:
    position = 2
    size_px = (0, 0)
    while True:
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            raise ValueError("no end mark")
        position, marker = found.end(), found.group()[1]
        if marker == 0xD9:  # end of image
            return size_px
        length = _number(data, position, 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            size_px = _larger(
                size_px, (_number(data, position + 5, 2), _number(data, position + 3, 2))
            )
        position += length


def _walk_webp(data: bytes) -> tuple[int, int]:
    if data[8:12] != b"WEBP" or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ValueError("shorter than its header says")
    if data[12:16] == b"VP8X":  # a canvas of up to 2^24 pixels a side, whatever is drawn on it
        data[29]
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    data[29]
    width_px, height_px = (int.from_bytes(data[at : at + 2], "little") for at in (26, 28))
    return width_px & 0x3FFF, height_px & 0x3FFF


def _larger(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Of two headers in one file, a decoder may believe either."""
    return max(one, other, key=lambda size_px: size_px[0] * size_px[1])


def _number(data: bytes, position: int, length: int) -> int:
    """A big-endian number of ``length`` bytes; IndexError past the end."""
    data[position + length - 1]
    return int.from_bytes(data[position : position + length], "big")
