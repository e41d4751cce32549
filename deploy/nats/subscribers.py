"""Other WedSync services that subscribe to events, registered by the operator in one JSON file.

    {"subscribers": [{"name": "crm", "events": ["executor.backup-completed.v1"], "organisations": ["*"]}]}

`name`: lower-case letters, digits and dashes; becomes the NATS identity, whose seed the operator hands over.
`events`: pinned names, with or without their version (every version is delivered), or `["*"]` for all that this build
knows. `organisations`: ids, or `["*"]`.

Each subscriber gets one durable consumer on every stream that has some of its events, named `<name>--events`;
it may read these and nothing else, and publish nothing. Leaving out the file, or a subscriber, leaves its
consumers on the server as they are: nothing here deletes, and without its identity nobody can use them.
"""

import re
from pathlib import Path

import msgspec

from chassis.key_files import read_regular
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import pinned_events
from contracts.identifiers import ORGANISATION
from contracts.streams import ConsumerSpec, stream_of
from contracts.subjects import events_named
from deploy.misread import misread
from deploy.nats.permissions import Identity, identities, subscriber

HANDLER = "events"
ALL = "*"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


class Subscriber(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subscriber as it is registered."""

    name: str
    events: tuple[str, ...]
    organisations: tuple[str, ...] = (ALL,)

    def consumers(self) -> tuple[ConsumerSpec, ...]:
        """Its durable consumers, one on each stream that has events for it."""
        named = pinned_events() if ALL in self.events else self.events
        names = list(dict.fromkeys(_unversioned(name) for name in named))
        owners = dict.fromkeys(name.partition(".")[0] for name in names)
        return tuple(
            ConsumerSpec(
                service=self.name,
                handler=HANDLER,
                stream=stream_of(owner),
                subjects=tuple(
                    events_named(name, organisation)
                    for name in names
                    if name.startswith(f"{owner}.")
                    for organisation in ((ALL,) if ALL in self.organisations else self.organisations)
                ),
            )
            for owner in owners
        )

    def identity(self) -> Identity:
        """Its NATS identity."""
        return subscriber(self.name, self.consumers())


def _unversioned(name: str) -> str:
    return ".".join(name.split(".")[:2])


class _Registered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subscribers: tuple[Subscriber, ...]


_REGISTERED = msgspec.json.Decoder(_Registered)


def load_subscribers(path: Path) -> tuple[Subscriber, ...]:
    """Read the file; none where it is not there. Raises PlatformError INVALID_SETTING, naming what is wrong."""
    try:
        text = read_regular(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise PlatformError(errors.INVALID_SETTING, f"{path.name} cannot be read: {misread(error)}") from error
    try:
        return subscribers_of(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(errors.INVALID_SETTING, f"{path.name}: {misread(error)}") from error


def subscribers_of(body: bytes) -> tuple[Subscriber, ...]:
    """Those of a file's bytes. Raises as `load_subscribers`, and what a decoder raises."""
    registered = _REGISTERED.decode(body).subscribers
    taken = {identity.name for identity in identities()}
    for each in registered:
        _check(each, taken)
        taken.add(each.name)
    return registered


def _check(each: Subscriber, taken: set[str]) -> None:
    if not _NAME.fullmatch(each.name):
        raise PlatformError(
            errors.INVALID_SETTING,
            f"a subscriber's name has 2 to 32 lower-case letters, digits and dashes, not {each.name!r}",
            field="name",
        )
    if each.name in taken:
        raise PlatformError(errors.INVALID_SETTING, f"the name {each.name} is taken", field="name")
    known = {ALL, *pinned_events(), *map(_unversioned, pinned_events())}
    unknown = sorted({*each.events} - known)
    if unknown or not each.events:
        raise PlatformError(
            errors.INVALID_SETTING,
            f"{each.name}: no such event: {', '.join(unknown) or '(none is named)'}",
            field="events",
            hint="The names are those of the files in contracts/schemas.",
        )
    if not each.organisations or not all(name == ALL or ORGANISATION.fullmatch(name) for name in each.organisations):
        raise PlatformError(errors.INVALID_SETTING, f"{each.name}: that is no organisation's id", field="organisations")
