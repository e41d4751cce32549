"""Cursors of lists: where the next page begins, as opaque text.

Promise: a cursor continues the list that gave it and no other. It is the sort key of the last item, time and id, with
a keyed digest over it, the list's name and its filters, under the organisation's key: what was given for another list,
with other filters, to another organisation, or made up, is refused with INVALID_CURSOR. A cursor is a place, not a
state, so it does not age; it ends with the key of its organisation.
"""

import base64
import binascii
import hmac
from datetime import datetime
from functools import partial

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError

LENGTH_MAX = 300
_PURPOSE = "list-cursor"
_PROOF_DIGITS = 32


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sort key of the last item of a page. `time` is its number in a log, of a list that is in the log's order."""

    time: datetime | int
    id: str


class _Text(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    place: Place
    proof: str


_TEXT = msgspec.json.Decoder(_Text)


class Cursors:
    """Gives and reads the cursors of one list as one organisation sees it. `filters`: what the list was narrowed by."""

    def __init__(self, sealer: Sealer, organisation: str, name: str, filters: msgspec.Struct) -> None:
        self._sealer = sealer
        self._organisation = organisation
        self._list = f"{name}\n{msgspec.json.encode(filters, order='deterministic').decode()}\n"

    async def encode(self, place: Place) -> str:
        """A cursor as text for a query parameter. Raises KEYS_UNREACHABLE, and KEYS_UNUSABLE where there is no key."""
        text = msgspec.json.encode(_Text(place, await self._proof(place)))
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    async def decode(self, text: str | None) -> Place | None:
        """The place that a query parameter means; None without one. Raises INVALID_CURSOR, and what `encode` does."""
        if text is None:
            return None
        try:
            if len(text) > LENGTH_MAX or not text.isascii():
                raise ValueError
            cursor = _TEXT.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not hmac.compare_digest(cursor.proof.encode(), (await self._proof(cursor.place)).encode()):
                raise ValueError
        except (binascii.Error, ValueError) as error:
            raise PlatformError(
                errors.INVALID_CURSOR, "the cursor is not one that this list has given", field="cursor"
            ) from error
        return cursor.place

    async def _proof(self, place: Place) -> str:
        text = self._list + msgspec.json.encode(place).decode()
        digest = partial(self._sealer.digest, self._organisation, _PURPOSE, text)
        return (await self._sealer.ask(digest))[:_PROOF_DIGITS]
