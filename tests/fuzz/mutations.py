"""Damages a file in the ways that files are damaged; for where atheris is not installed."""

from __future__ import annotations

import random

__all__ = ["mutated"]

_ODD = (
    b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"-1", b"0", b"1e999", b"NaN",
    b"Infinity", b"null", b"[]", b"{}", b'""', b"[[", b"true", b"99999999999999999999",
    b"9" * 400, b"\xc3\x28", b"\\ud800", b"\\u0000", b"../", b"\n", b",", b'"', b"]", b"}",
)  # fmt: skip


def mutated(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A copy of ``seed`` with one to six things wrong."""
    data = bytearray(seed[:100_000])
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        length = min(rng.choice((1, 1, 2, 4, 16, 64)), len(data) - at)
        match rng.randrange(6):
            case 0 if length:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at : at + length] = rng.choice(_ODD)
            case 3:
                data[at:at] = data[at : at + length] * rng.randint(1, 4)
            case 4:
                other = rng.choice(others)
                start = rng.randint(0, len(other))
                data[at : at + length] = other[start : start + 64]
            case _:
                data[at : at + length] = rng.randbytes(length)
    if rng.random() < 0.1:
        del data[rng.randint(0, len(data)) :]
    return bytes(data)
