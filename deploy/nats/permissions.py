"""Who may do what on NATS, as data.

Promise: a process may publish its own subjects and nothing else, may use the durable consumers that are
declared for it and no others, and may receive answers in its own inbox only, so that it cannot read what
another is told. Creating, changing, purging and deleting streams, and deleting messages, is denied to all
of them in so many words; only the `topology` identity, whose key lies offline, creates and changes, and
not even that one deletes or purges. A refused publish looks like a timeout to the caller; the server tells
the client, which counts, logs and reports it (`chassis.bus.connection`).

What permissions cannot do: the server checks the subject of a publish, never the subject of its reply, and answers
in its own name. Whoever may ask JetStream anything can have an answer delivered to any subject of the account, the
API's own included: that deletes a stream, or puts a message into another's. Every identity is therefore in an account
of its own, our processes like other services' subscribers: what it may publish leads into the platform's account, and
the answer out of it into its own alone. Only the topology identity is in the platform's account itself.
"""

import secrets
from collections.abc import Iterable, Sequence

import msgspec
import nkeys

from chassis.bus.topology import dismissal_subject, replay_consumer, replay_subject, specs_of
from contracts.streams import (
    ANSWERS,
    CONSUMERS,
    DEAD_LETTER_STREAM,
    PROGRESS_STREAM,
    WORKERS_HEAR,
    ConsumerSpec,
    stream_of,
)
from contracts.subjects import (
    JETSTREAM_API,
    PROGRESS,
    READERS_OF_ALL,
    SERVICES,
    dead_letter_subject,
    events_of,
    once_stored,
)

API = "$JS.API"
"""JetStream's API in the platform's account. In another account the name stands for that account's own: it has none."""

TOPOLOGY = "topology"

# Loses or rewrites history. Denied to everybody.
_DESTROY = (
    "$JS.API.STREAM.DELETE.>",
    "$JS.API.STREAM.PURGE.>",
    "$JS.API.STREAM.MSG.DELETE.>",
    "$JS.API.STREAM.RESTORE.>",
)
# Changes what is declared. Denied to all but the topology identity.
_CHANGE = (
    "$JS.API.STREAM.CREATE.>",
    "$JS.API.STREAM.UPDATE.>",
    "$JS.API.STREAM.SNAPSHOT.>",
    "$JS.API.STREAM.TEMPLATE.>",
    "$JS.API.STREAM.LEADER.>",
    "$JS.API.STREAM.PEER.>",
    "$JS.API.CONSUMER.DURABLE.>",
    "$JS.API.CONSUMER.LEADER.>",
    "$JS.API.META.>",
    "$JS.API.SERVER.>",
    "$JS.API.ACCOUNT.>",
)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One NATS user: subjects that it may publish (less those denied) and subscribe to.

    `is_apart`: in an account of its own, which has no subjects but its own inbox, those that it may publish, and
    those that it hears. JetStream's API begins with `JETSTREAM_API` there.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny_publish: tuple[str, ...] = (*_DESTROY, *_CHANGE)
    is_apart: bool = False
    asks: tuple[tuple[str, str], ...] = ()
    """Subjects of questions, each with the identity that answers it, from account to account."""
    answers: tuple[tuple[str, str], ...] = ()
    """Subjects of questions that it is asked, each with the identity that may ask."""

    @property
    def inbox(self) -> str:
        """The prefix of the subjects on which it gets answers."""
        return f"_INBOX_{self.name}"

    @property
    def hears(self) -> tuple[str, ...]:
        """The platform's subjects that it may subscribe to."""
        asked = {subject for subject, _ in self.answers}
        return tuple(subject for subject in self.subscribe if subject != f"{self.inbox}.>" and subject not in asked)


class Keys(msgspec.Struct, frozen=True):
    """An identity's nkey: the public half is in the server's configuration, the seed in the process's seed file."""

    public: str
    seed: str


def generate_keys() -> Keys:
    """A new Ed25519 user nkey from the system's random source."""
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    return Keys(public=nkeys.from_seed(bytearray(seed)).public_key.decode(), seed=bytes(seed).decode())


def identities() -> tuple[Identity, ...]:
    """Every identity of the platform."""
    return (*(_service(service) for service in SERVICES), *map(_worker, WORKERS_HEAR), _topology())


def subscriber(name: str, consumers: Iterable[ConsumerSpec]) -> Identity:
    """The identity of another WedSync service: it reads through consumers declared for it and publishes nothing."""
    return _apart(name, publish=[subject for spec in consumers for subject in _reading(spec)])


def _service(service: str) -> Identity:
    streams, consumers = specs_of(service)
    own = stream_of(service)
    publish = [
        events_of(service),
        # Not what lies below: that they are settled an operator says.
        *(dead_letter_subject(spec.service, spec.handler) for spec in consumers),
        *(f"$JS.API.STREAM.INFO.{stream.name}" for stream in streams),
        # The relay finds its position in the last message of its own stream.
        *_getting(own),
        *(subject for spec in consumers for each in (spec, replay_consumer(spec)) for subject in _reading(each)),
    ]
    hears: list[str] = []
    if service in READERS_OF_ALL:
        publish += [subject for owner in SERVICES if owner != service for subject in _getting(stream_of(owner))]
    if service == "gateway":
        publish += _getting(PROGRESS_STREAM)
        hears += [*(once_stored(events_of(owner)) for owner in SERVICES), once_stored(f"{PROGRESS}.>")]
    asks = [
        (subject, answering)
        for answering, questions in ANSWERS.items()
        for subject, asking in questions.items()
        if asking == service
    ]
    return _apart(service, publish=publish, hears=hears, asks=asks, answers=_answers(service))


def _worker(service: str) -> Identity:
    name = f"{service}-worker"
    return _apart(name, publish=[f"{PROGRESS}.{service}.>"], hears=WORKERS_HEAR[service], answers=_answers(name))


def _answers(identity: str) -> list[tuple[str, str]]:
    return list(ANSWERS.get(identity, {}).items())


def _apart(
    name: str,
    *,
    publish: Iterable[str],
    hears: Iterable[str] = (),
    asks: Iterable[tuple[str, str]] = (),
    answers: Sequence[tuple[str, str]] = (),
) -> Identity:
    denied = (*_DESTROY, *_CHANGE)
    return Identity(
        name=name,
        publish=tuple(dict.fromkeys(_from_apart(subject) for subject in publish)),
        subscribe=(f"_INBOX_{name}.>", *hears, *(subject for subject, _ in answers)),
        deny_publish=(*denied, *(_from_apart(subject) for subject in denied)),
        is_apart=True,
        asks=tuple(asks),
        answers=tuple(answers),
    )


def _from_apart(subject: str) -> str:
    return JETSTREAM_API + subject.removeprefix(API) if subject.startswith(API) else subject


def _topology() -> Identity:
    answers = [
        each(spec.service, spec.handler, "*") for spec in CONSUMERS for each in (replay_subject, dismissal_subject)
    ]
    return Identity(
        name=TOPOLOGY,
        # To apply the topology, to look at dead letters and to put them before their handlers again or to dismiss them.
        publish=("$JS.API.>", f"$JS.ACK.{DEAD_LETTER_STREAM}.>", *answers),
        subscribe=(f"_INBOX_{TOPOLOGY}.>",),
        deny_publish=_DESTROY,
    )


def _reading(spec: ConsumerSpec) -> tuple[str, ...]:
    """To use one durable consumer. Wildcards match whole tokens only, so that each consumer is named."""
    return (
        f"$JS.API.CONSUMER.INFO.{spec.stream}.{spec.durable_name}",
        f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable_name}",
        f"$JS.ACK.{spec.stream}.{spec.durable_name}.>",
    )


def _getting(stream: str) -> tuple[str, ...]:
    """To read single messages of a stream, by sequence or the last of a subject."""
    return (
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
    )
