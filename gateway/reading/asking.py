"""What is asked of other processes at once, since the gateway has no view of it: it opens no repository.

Promise: whoever asks gets what a worker has seen, or why nobody could look; never nothing at all for that. A question
waits for an answer a moment longer than a worker may take, and where no worker listens not at all.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import (
    ANSWER_SECONDS,
    ASK_CONTENT,
    ASK_ENTRIES,
    ContentAnswer,
    ContentAsked,
    EntriesAnswer,
    EntriesAsked,
    EntryFound,
    PointLooked,
    answer_of,
    content_answer_of,
    encoded,
)
from gateway.http.problems import error_of_code

WAIT_SECONDS = ANSWER_SECONDS + 2.0
_T = TypeVar("_T", EntriesAnswer, ContentAnswer)


class Asking:
    """Asks the recovery workers. `client`: the process's connection."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    async def entries(self, asked: EntriesAsked) -> list[PointLooked]:
        """What was found in each point. Raises LOOK_UNANSWERED, UNAVAILABLE, and what the workers tell."""
        answer = await self._answer(ASK_ENTRIES, asked, answer_of)
        if [each.recovery_point_id for each in answer.points] != list(asked.recovery_point_ids):
            raise PlatformError(errors.LOOK_UNANSWERED, "the answer is to another question")
        return list(answer.points)

    async def content(self, asked: ContentAsked) -> tuple[EntryFound, bytes]:
        """A file, and the piece of it that was asked for. Raises as `entries`."""
        answer = await self._answer(ASK_CONTENT, asked, content_answer_of)
        if answer.entry is None or len(answer.body) != max(0, min(asked.length, answer.entry.size - asked.offset)):
            raise PlatformError(errors.LOOK_UNANSWERED, "the answer is to another question")
        return answer.entry, answer.body

    async def _answer(self, subject: str, asked: EntriesAsked | ContentAsked, read: Callable[[bytes], _T]) -> _T:
        client = self._client()
        if not client.is_connected:
            raise PlatformError(errors.UNAVAILABLE, "nats does not answer")
        try:
            message = await client.request(subject, encoded(asked), timeout=WAIT_SECONDS)
            answer = read(message.data)
        except nats.errors.NoRespondersError as error:
            raise PlatformError(errors.LOOK_UNANSWERED, "no recovery worker listens") from error
        except (nats.errors.Error, TimeoutError, msgspec.DecodeError) as error:
            raise PlatformError(errors.LOOK_UNANSWERED, "no recovery worker has answered in time") from error
        if answer.code is not None:
            if answer.code not in errors.catalogue():
                raise PlatformError(errors.LOOK_UNANSWERED, "a worker of a newer build says why it cannot look")
            raise error_of_code(answer.code)
        return answer
