"""Token buckets: how many requests one caller may make.

Promise: constant work and constant memory for each caller, bounded memory in all; a caller that stays below its
rate is never refused. One process's view: with n gateways a caller may make n times as many.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from contracts import errors
from contracts.errors import PlatformError


class Rate(msgspec.Struct, frozen=True):
    """`per_second` requests in the long run, `burst` at once."""

    per_second: float
    burst: float


class _Bucket(msgspec.Struct):
    tokens: float
    filled_at: float


class TokenBuckets:
    """One bucket for each caller; who was away longest is forgotten first, which refills the bucket."""

    def __init__(self, rate: Rate, *, callers_max: int = 50_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._callers_max = callers_max
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, caller: Hashable) -> float:
        """Take one token: 0.0 where there was one, else the seconds until there is one (and none is taken)."""
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._rate.burst, now)
            if len(self._buckets) > self._callers_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(caller)
            bucket.tokens = min(self._rate.burst, bucket.tokens + (now - bucket.filled_at) * self._rate.per_second)
            bucket.filled_at = now
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) / self._rate.per_second

    def spend(self, caller: Hashable, tokens: int) -> None:
        """Take tokens for what a caller was let in with: also those that are not there, and come before any other."""
        if tokens > 0 and (bucket := self._buckets.get(caller)) is not None:
            bucket.tokens -= tokens

    def allowance(self, caller: Hashable) -> tuple[int, int, int]:
        """How many a caller may make at once, how many are left now, and the seconds until all are there again."""
        rate, bucket = self._rate, self._buckets.get(caller)
        tokens = rate.burst
        if bucket is not None:
            tokens = min(rate.burst, bucket.tokens + (self._clock() - bucket.filled_at) * rate.per_second)
        return int(rate.burst), max(0, int(tokens)), math.ceil((rate.burst - tokens) / rate.per_second)


def refuse_above(wait_seconds: float) -> None:
    """Raise TOO_MANY_REQUESTS where a caller has to wait."""
    if wait_seconds > 0:
        raise PlatformError(errors.TOO_MANY_REQUESTS, "too many requests", retry_after_seconds=round(wait_seconds, 3))
