"""Where on NATS an event is found.

`backup.<owner>.<organisation>.<event>.<version>`, for example
`backup.executor.0199a0f2-….backup-completed.v1`. Owner first, so that a publisher's permission is
one line (`backup.executor.>`); organisation second, so that a subscriber's is one, too
(`backup.*.<organisation>.>`). Progress and dead letters have trees of their own.
"""

from contracts.envelope import Envelope

SERVICES = ("gateway", "config", "executor", "recovery", "compliance", "dr")
"""Whoever owns events. A service's stream, permissions, schema and processes follow from its name here."""

READERS_OF_ALL = ("gateway", "compliance")
"""Who reads every stream from any position: for the read models, and for the audit log."""

EVENTS = "backup"
PROGRESS = "progress"
DEAD_LETTERS = "deadletter"
STORED = "stored"

JETSTREAM_API = "WEDSYNC.API"
"""The prefix by which whoever is in a NATS account of their own reaches JetStream's API, in place of `$JS.API`."""


def event_subject(envelope: Envelope) -> str:
    """The subject that an event is published on."""
    owner, event, version = envelope.type.split(".")
    return f"{EVENTS}.{owner}.{envelope.organisation}.{event}.{version}"


def once_stored(subject: str) -> str:
    """Where a stream says that it has stored a message of a subject: what is heard there can be read."""
    return f"{STORED}.{subject}"


def events_of(owner: str) -> str:
    """A filter for all events of one owner."""
    return f"{EVENTS}.{owner}.>"


def events_named(name: str, organisation: str = "*") -> str:
    """A filter for one event, of one organisation or of all, in every version: readers turn old ones into new.

    `name` is pinned, or without its version.
    """
    owner, event = name.split(".")[:2]
    return f"{EVENTS}.{owner}.{organisation}.{event}.*"


def progress_subject(owner: str, organisation: str, run_id: str) -> str:
    """Where the latest progress of one run is found."""
    return f"{PROGRESS}.{owner}.{organisation}.{run_id}"


def dead_letter_subject(service: str, handler: str) -> str:
    """Where a message goes that a handler could not take."""
    return f"{DEAD_LETTERS}.{service}.{handler}"
