"""Bytes and numbers that are the same on every machine for the same names.

The stream is the AES-256-CTR keystream of a key made of the names: as hard to compress as real
entropy-coded data, gigabytes per second on one core, and (unlike a library's generator) fixed by a
standard, so that figures of different years describe the same corpus.
"""

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_ZEROS = bytes(1 << 20)


class Seeded:
    """One stream, named by whatever tells it from the others (corpus, version, number of the file)."""

    def __init__(self, *names: object) -> None:
        key = hashlib.blake2b(repr(names).encode(), digest_size=32, person=b"wedsync-bench").digest()
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, length: int) -> bytearray:
        """The next `length` bytes of the stream."""
        out = bytearray(length + 15)  # update_into wants room for one block more
        view = memoryview(out)
        for start in range(0, length, len(_ZEROS)):
            size = min(len(_ZEROS), length - start)
            self._stream.update_into(memoryview(_ZEROS)[:size], view[start:])
        view.release()
        del out[length:]
        return out

    def integers(self, count: int, below: int) -> NDArray[np.int64]:
        """`count` numbers in 0..below-1, uniform but for a bias under below / 2^64."""
        raw = np.frombuffer(self.bytes(8 * count), dtype="<u8")
        return (raw % np.uint64(below)).astype(np.int64)

    def integer(self, low: int, high: int) -> int:
        """One number in low..high-1."""
        return low + int(self.integers(1, high - low)[0])

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1)."""
        raw = np.frombuffer(self.bytes(8 * count), dtype="<u8")
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """`count` numbers of the standard normal distribution (Box–Muller)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(count)))
        angle: NDArray[np.float64] = radius * np.cos(2.0 * np.pi * self.uniform(count))
        return angle
