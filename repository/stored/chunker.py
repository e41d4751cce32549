"""Where a stream of bytes is cut into chunks.

Promise: cuts depend on the bytes from the start of the chunk on, and on nothing else; reading the same
bytes in blocks of another size gives the same chunks. Three ways:

- `FastCdcCutter`: content-defined (FastCDC, normalised), so that an insertion moves no later cut.
- `FixedCutter`: blocks of one size, for files that change in place on page boundaries (Postgres).
- a small file is one chunk and never comes here.

The gear table is seeded from the key domain's secret: the lengths of chunks, which an attacker with the
bucket can see, then say nothing about well-known files.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from repository.errors import LimitExceeded
from repository.format import CHUNK_LENGTH_MAX
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys

SMALL_FILE_MAX: Final = 512 << 10
"""A file of at most this many bytes is one chunk."""

MINIMUM_MIN: Final = 64
AVERAGE_MIN: Final = 256
AVERAGE_MAX: Final = 4 << 20
MAXIMUM_MIN: Final = 1024
"""What FastCDC can do, as its authors' implementations limit it."""


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """Bytes of a content-defined chunk: at least (but for the last), on average, at most.

    What is below the least is not looked at: half the average is a fifth less to scan than a quarter, and of 24 edits
    in 96 MB either finds the same again (30 MB new).
    """

    minimum: int = 512 << 10
    average: int = 1 << 20
    maximum: int = 4 << 20

    def __post_init__(self) -> None:
        in_order = MINIMUM_MIN <= self.minimum <= self.average <= self.maximum <= CHUNK_LENGTH_MAX
        if not in_order or not AVERAGE_MIN <= self.average <= AVERAGE_MAX or self.maximum < MAXIMUM_MIN:
            raise LimitExceeded("chunker parameters are out of order", minimum=self.minimum, maximum=self.maximum)


def chunker_seed(keys: DomainKeys) -> int:
    """The secret 63-bit seed of a domain's gear table."""
    seed = crypto.derive(keys.chunk_id_key, keys.repository_id, b"chunker-seed", length=8)
    return int.from_bytes(seed, "little") >> 1


class Cutter(Protocol):
    """Cuts a stream that arrives in blocks."""

    @property
    def longest(self) -> int:
        """Bytes of the longest chunk; a caller keeps room for one unfinished chunk of this length."""
        ...

    def cut(self, view: memoryview, *, final: bool) -> list[int]:
        """Lengths of the chunks that are complete in `view`, which starts where a chunk starts.

        What is left over has to come again, at the start of the next `view`. With `final` nothing is
        left over. An empty list means that `view` has to grow.
        """
        ...


class FastCdcCutter:
    """Content-defined cuts. `seed` is a number of 63 bits, secret to the key domain."""

    def __init__(self, parameters: ChunkerParameters, seed: int) -> None:
        from pyfastcdc import FastCDC

        self.longest = parameters.maximum
        self._cdc = FastCDC(
            avg_size=parameters.average, min_size=parameters.minimum, max_size=parameters.maximum, seed=seed
        )

    def cut(self, view: memoryview, *, final: bool) -> list[int]:
        """See `Cutter.cut`. The scan releases the GIL."""
        lengths = [chunk.length for chunk in self._cdc.cut_buf(view)]
        # The last chunk ended because the block did, unless it is as long as a chunk can be.
        if lengths and not final and lengths[-1] < self.longest:
            lengths.pop()
        return lengths


class FixedCutter:
    """Cuts every `block` bytes."""

    def __init__(self, block: int) -> None:
        if not 512 <= block <= CHUNK_LENGTH_MAX:
            raise LimitExceeded("fixed blocks have an impossible size", block=block)
        self.longest = block

    def cut(self, view: memoryview, *, final: bool) -> list[int]:
        """See `Cutter.cut`."""
        whole, rest = divmod(len(view), self.longest)
        lengths = [self.longest] * whole
        if rest and final:
            lengths.append(rest)
        return lengths
