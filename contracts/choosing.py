"""What the disaster recovery service asks the gateway and is answered at once: which points a test of a plan takes.

No events: nothing is recorded of a question, and what was chosen stands in the test's first fact. Both sides are of one
release or its neighbour's: fields are added with a default, none changes its meaning.
"""

from typing import Final

import msgspec

from contracts.disaster import PlanBody, StepPoint

ASK_POINTS: Final = "ask.gateway.points"
"""The subject of `PointsAsked`. One of the gateways answers."""


class PointsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which recovery point each restore of a plan takes, by what there is now."""

    organisation: str
    body: PlanBody


class PointsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: of a restore for which there is none, none. `code`: why nobody could look."""

    code: str | None = None
    points: tuple[StepPoint, ...] = ()


encoded = msgspec.msgpack.Encoder().encode
_ASKED = msgspec.msgpack.Decoder(PointsAsked)
_ANSWER = msgspec.msgpack.Decoder(PointsAnswer)


def asked_of(body: bytes) -> PointsAsked:
    """A question. Raises `msgspec.DecodeError`."""
    return _ASKED.decode(body)


def answer_of(body: bytes) -> PointsAnswer:
    """An answer. Raises `msgspec.DecodeError`."""
    return _ANSWER.decode(body)
