"""Cuts depend on the bytes and on nothing else."""

import hashlib
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repository.errors import LimitExceeded
from repository.format import CHUNK_LENGTH_MAX
from repository.keys.key_ring import new_keys
from repository.stored.chunker import ChunkerParameters, Cutter, FastCdcCutter, FixedCutter, chunker_seed
from tests.support.repositories import SeededRandomness

SMALL = ChunkerParameters(minimum=64, average=256, maximum=1024)
NOISE = hashlib.shake_256(b"stream").digest(40_000)


def _cut_in_blocks(cutter: Cutter, stream: bytes, block: int) -> list[int]:
    """As the pipeline does it: blocks of `block` bytes, what is left over comes again."""
    lengths: list[int] = []
    held = b""
    at = 0
    while True:
        piece = stream[at : at + block]
        at += block
        final = at >= len(stream)
        held += piece
        cut = cutter.cut(memoryview(held), final=final)
        lengths += cut
        held = held[sum(cut) :]
        if final:
            assert held == b""
            return lengths


@settings(max_examples=60)
@given(st.integers(0, 40_000), st.integers(1, 9_000), st.booleans())
def test_cuts_do_not_depend_on_the_blocks(length: int, block: int, content_defined: bool) -> None:
    """Reading in blocks of any size cuts the same chunks, within their limits, and loses nothing."""
    cutter: Cutter = FastCdcCutter(SMALL, 7) if content_defined else FixedCutter(512)
    stream = NOISE[:length]
    whole = cutter.cut(memoryview(stream), final=True)
    assert sum(whole) == length
    assert all(each <= cutter.longest for each in whole)
    assert _cut_in_blocks(cutter, stream, block) == whole


def test_insertion_moves_no_later_cut() -> None:
    """Bytes that are put in at the start change the first chunks, not those behind."""
    cutter = FastCdcCutter(SMALL, 7)
    before = set(accumulate(cutter.cut(memoryview(NOISE), final=True)))
    after = {end - 100 for end in accumulate(cutter.cut(memoryview(b"!" * 100 + NOISE), final=True))}
    assert len(before & after) > 0.9 * len(before)


def test_average_is_about_what_was_asked_for() -> None:
    """Chunks of noise are on average of the length in the parameters, within a factor of two."""
    parameters = ChunkerParameters(minimum=1024, average=4096, maximum=16384)
    stream = hashlib.shake_256(b"much").digest(2_000_000)
    lengths = FastCdcCutter(parameters, 1).cut(memoryview(stream), final=True)
    assert 2048 < len(stream) / len(lengths) < 8192


def test_seed_moves_the_cuts() -> None:
    """Another key domain cuts elsewhere: the lengths of chunks do not tell well-known files."""
    one, other = (FastCdcCutter(SMALL, seed).cut(memoryview(NOISE), final=True) for seed in (1, 2))
    assert one != other


def test_seed_comes_from_the_domains_secret() -> None:
    """The seed is the same for the same keys, differs between domains, and fits the native library."""
    keys = [new_keys(b"r" * 16, randomness=SeededRandomness(seed)) for seed in (1, 1, 2)]
    seeds = [chunker_seed(each) for each in keys]
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 <= min(seeds) <= max(seeds) < 1 << 63


def test_constant_bytes_are_cut_at_the_maximum() -> None:
    """A run of zeros, in which no cut is found, gives chunks of the greatest length, also across blocks."""
    cutter = FastCdcCutter(SMALL, 7)
    assert cutter.cut(memoryview(bytes(2048)), final=False) == [1024, 1024]
    assert cutter.cut(memoryview(bytes(2100)), final=True) == [1024, 1024, 52]


def test_fixed_cuts_wait_for_a_whole_block() -> None:
    """A block that is not full is only cut at the end."""
    cutter = FixedCutter(512)
    assert cutter.cut(memoryview(bytes(511)), final=False) == []
    assert cutter.cut(memoryview(bytes(1025)), final=False) == [512, 512]
    assert cutter.cut(memoryview(bytes(1025)), final=True) == [512, 512, 1]


@pytest.mark.parametrize(
    "limits",
    [
        (0, 256, 1024),
        (512, 256, 1024),
        (64, 2048, 1024),
        (64, 128, 1024),
        (64, 5 << 20, 8 << 20),
        (64, 256, 512),
        (64, 1024, CHUNK_LENGTH_MAX + 1),
    ],
    ids=str,
)
def test_parameters_out_of_order_are_refused(limits: tuple[int, int, int]) -> None:
    """Impossible limits are refused when they are given, not when data is cut."""
    with pytest.raises(LimitExceeded):
        ChunkerParameters(*limits)


@pytest.mark.parametrize("block", [0, 100, CHUNK_LENGTH_MAX + 1])
def test_impossible_blocks_are_refused(block: int) -> None:
    """Fixed blocks have a sensible size."""
    with pytest.raises(LimitExceeded):
        FixedCutter(block)
