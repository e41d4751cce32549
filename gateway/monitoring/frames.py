"""What is said on the WebSocket: one JSON object a message, told apart by `type`.

From the client: `subscribe`. To the client: `snapshot` first (or `resumed`), then `fact` and `progress`, and `error`
for what could not be understood. `resume` is what a client sends after a drop to go on where it stopped.
"""

import re
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts import errors
from contracts.errors import PlatformError
from contracts.progress import Progress
from gateway.http.bodies import UNREADABLE, invalid_body, require_names_once
from gateway.http.fields import Uuid
from gateway.http.problems import Problem, public_hint
from gateway.projections.fact import Fact
from gateway.runs.resources import Execution

NAMED_MAX = 100
_RESUME = re.compile(r"[0-9A-Za-z-]{1,64}:[0-9]{1,18}")


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag="subscribe"):
    """What a client wants to be told: everything of its organisation, or of some executions or configurations.

    A new subscription replaces the one before. `resume`: the `resume` of the last message that was received. What is
    null or empty is refused: it would be meant as a filter, and answer with everything.
    """

    all: bool = False
    executions: Annotated[tuple[Uuid, ...], Meta(min_length=1, max_length=NAMED_MAX)] = ()
    configurations: Annotated[tuple[Uuid, ...], Meta(min_length=1, max_length=NAMED_MAX)] = ()
    resume: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET

    def wants(self, execution_id: str | None, configuration_id: str | None) -> bool:
        """Whether something about a run or a configuration is to be told."""
        return self.all or execution_id in self.executions or configuration_id in self.configurations


_DECODER = msgspec.json.Decoder(Subscribe)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="snapshot"):
    """How things stand at `resume`; every later fact follows as a message of its own.

    `ended_since`: where a reader could not be told fact by fact what it has missed, the runs that have ended from then
    on are among `executions`. `is_complete`: False where there are more runs than are shown; the lists have them all.
    """

    resume: str
    executions: list[Execution]
    progress: list[Progress]
    ended_since: datetime | None = None
    is_complete: bool = True


class Resumed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="resumed"):
    """Nothing was missed: what happened since `resume` follows."""

    resume: str


class FactFrame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="fact"):
    """Something that is now true. `event` is the pinned name, `fields` are the event's own (docs/subscribers.md).

    But for what is the operators' alone: the worker's name is left out, a hint that names insides is the catalogue's.
    """

    resume: str
    id: str
    event: str
    time: datetime
    execution_id: str | None
    configuration_id: str | None
    fields: msgspec.Raw


class ProgressFrame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="progress"):
    """How far a run is. May be left out for slow readers: the next one says more."""

    progress: Progress


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="error"):
    """A message was not understood, or names what is not there; the subscription is as it was."""

    problem: Problem


class Resume(msgspec.Struct, frozen=True):
    """Where a reader stands: the epoch of the read models and the number of the last fact."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> "Resume":
        """Raises INVALID_FIELD."""
        epoch, _, number = text.rpartition(":")
        if not _RESUME.fullmatch(text):
            raise PlatformError(
                errors.INVALID_FIELD,
                "not a resume id",
                field="resume",
                hint="Send the resume of the last message as it is, or leave it out for a snapshot.",
            )
        return cls(epoch, int(number))


def understood(text: str) -> Subscribe:
    """A message of the client. Raises PlatformError."""
    try:
        subscription = _DECODER.decode(text)
        require_names_once(text)
    except UNREADABLE as error:
        raise invalid_body(text, Subscribe, error) from error
    if subscription.resume is not UNSET:
        Resume.parse(subscription.resume)
    if subscription.all and (subscription.executions or subscription.configurations):
        raise PlatformError(
            errors.INVALID_FIELD,
            "the subscription names some and asks for all",
            field="all",
            hint="Send all: true alone, or ids in executions or configurations.",
        )
    if not (subscription.all or subscription.executions or subscription.configurations):
        raise PlatformError(
            errors.INVALID_FIELD,
            "the subscription names nothing",
            hint="Send all: true, or ids in executions or configurations.",
        )
    return subscription


def fact_frame(epoch: str, fact: Fact) -> FactFrame:
    """A fact as it is told."""
    return FactFrame(
        resume=str(Resume(epoch, fact.sequence)),
        id=fact.event_id,
        event=fact.type,
        time=fact.time,
        execution_id=fact.execution_id,
        configuration_id=fact.configuration_id,
        fields=_public(fact.fields),
    )


def _public(fields: msgspec.Raw) -> msgspec.Raw:
    """The fields of an event but for what is the operators' alone: which machine works, what names its insides."""
    stored = bytes(fields)
    if b'"worker"' not in stored and b'"hint"' not in stored:
        return fields
    shown = {name: value for name, value in msgspec.json.decode(stored).items() if name != "worker"}
    if "hint" in shown:
        shown["hint"] = public_hint(errors.catalogue().get(shown.get("code", ""), errors.INTERNAL), shown["hint"])
    return msgspec.Raw(msgspec.json.encode(shown))
