"""Over the messages of a stream, in its order, from a place on."""

from collections.abc import Sequence

from chassis.outbox.continuity import message_id
from chassis.reading.stored import Place, StoredMessage


class Walk:
    """Goes over messages in the order of the stream and takes those that follow a place, up to the first doubt.

    What was applied already may lie there again. Of the event that was applied last it is known whether it is the same.
    """

    def __init__(self, place: Place, following: int, *, is_joined: bool = False) -> None:
        self._at: Place | StoredMessage = place
        self.following = following
        """The sequence that comes next in the stream."""
        self.is_joined = is_joined
        """Whether the stream holds everything from the place up to there."""
        self.has_met_place = is_joined
        """Whether the place was come by. What is in front of it, strays and other logs, is no concern of it."""
        self.last: StoredMessage | None = None
        """The message that was gone over last."""
        self.is_behind_another = False
        """Whether the last message of a relay was one of another log."""
        self.events: list[StoredMessage] = []
        self.strays: list[StoredMessage] = []
        self.doubt: StoredMessage | None = None
        self.is_contradicted = False
        """Whether another event lies where the last applied one was, under the same name."""

    @property
    def place(self) -> Place:
        """The place that was reached. Its digest is made when it is asked for, not of each event on the way."""
        return self._at if isinstance(self._at, Place) else self._at.place

    def over(self, messages: Sequence[StoredMessage]) -> "Walk":
        """Go over messages, up to the first doubt."""
        for message in messages:
            if not self._take(message):
                break
            self.last, self.following = message, message.sequence + 1
        return self

    def further(self) -> "Walk":
        """A walk that goes on where this one has ended."""
        walk = Walk(self.place, self.following, is_joined=self.is_joined)
        walk.last, walk.is_behind_another, walk.has_met_place = self.last, self.is_behind_another, self.has_met_place
        return walk

    def _take(self, message: StoredMessage) -> bool:
        if message.log and message.log == self._at.log:
            if message.position > self._at.position:
                if not self._follows(message):
                    self.doubt = message
                    return False
                self.events.append(message)
                self._at, self.is_joined, self.has_met_place = message, True, True
                self.is_behind_another = False
                return True
            self.is_behind_another = False
            if message.position == self._at.position:
                if message.place.differs_from(self.place):
                    self.is_contradicted = True
                    return False
                self.is_joined = self.has_met_place = True
                return True
        elif self.has_met_place:
            self.strays.append(message)
            self.is_behind_another = self.is_behind_another or bool(message.log)
        # A stray, or applied already: the record was published again behind something else.
        self.is_joined = self.is_joined and message.sequence == self.following
        return True

    def _follows(self, message: StoredMessage) -> bool:
        if self.is_joined and message.sequence == self.following:
            return True  # The server has let it in behind the one before, whatever that is.
        if self._at.position == 0:
            return message.before is None
        return message.before == message_id(self._at.log, self._at.position)
