"""Notification channels: what requests and facts say of them, and what speaks against one. Pure.

A channel says who is told of what, and how. Two look at it: the gateway, before anything is recorded, and the config
service, whose word is the record's.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from contracts import errors
from contracts.event import Value
from contracts.reading import Growing
from contracts.refusal import Objection
from contracts.schedule import TimeOfDay
from contracts.sealed import Sealed

# The names under which fields are sealed (`chassis.sealing`). Pinned: every box is bound to its field's.
CHANNEL_NAME_FIELD = "notification-channel.name"
CHANNEL_ADDRESS_FIELD = "notification-channel.address"

SecretName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", max_length=63)]
CHANNELS_MAX = 20
"""Of one organisation: what happens is told to each of them."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")
_NUMBER = re.compile(r"([0-9]+|0[xX][0-9A-Fa-f]*)\Z")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


class NotificationEvent(Growing):
    """What somebody is told of."""

    STARTED = "started"
    COMPLETED = "completed"
    DEGRADED = "degraded"
    FAILED = "failed"
    MISSED = "missed"
    OVERDUE = "overdue"
    RECOVERED = "recovered"
    TEST = "test"
    DISASTER_RECOVERY = "disaster-recovery"


ASKED_FOR = frozenset({NotificationEvent.TEST, NotificationEvent.DISASTER_RECOVERY})
"""What is told to the channels that are named, whatever they are for, at any hour: a test, a step of a plan."""
CHOSEN = tuple(each for each in NotificationEvent if each not in ASKED_FOR)
"""What a channel may be for."""
ALARMS = frozenset({NotificationEvent.FAILED, NotificationEvent.MISSED, NotificationEvent.OVERDUE})
"""What no quiet hours hold back where a critical wedding is concerned."""


class ChannelKind(Growing):
    """How somebody is told: a program by a signed request, or people by a service that they use."""

    WEBHOOK = "webhook"
    SERVICE = "service"


class ChannelState(Growing):
    """Whether anything is sent to a channel: to a retired one nothing is, for good."""

    ACTIVE = "active"
    RETIRED = "retired"


class QuietHours(Value, frozen=True, kw_only=True):
    """Between which times of day nothing is sent; `end` is not among them. It may go over midnight.

    What happens meanwhile is sent at their end. Failures of configurations of critical weddings are sent at once.
    """

    start: TimeOfDay
    end: TimeOfDay
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"


class ChannelBody(Value, frozen=True, kw_only=True):
    """What a channel says. Its name may be personal, and its address may hold what only its owner knows.

    `address`: of a webhook. `secret`: the name of a secret of the organisation: of a webhook the keys that its requests
    are signed with, of a service all of its address. `configuration_ids`: whose events, none for those of all.
    """

    name: Sealed
    kind: ChannelKind
    secret: SecretName
    events: tuple[NotificationEvent, ...]
    address: Sealed | None = None
    configuration_ids: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None


def address_objections(kind: ChannelKind, address: str | None, *, private: bool = True) -> Iterator[Objection]:
    """What is wrong with an address as it is written. `private`: whether one of a closed network may be told.

    Where a name leads is found out by who sends.
    """
    if kind is not ChannelKind.WEBHOOK:
        if address is not None:
            yield _wrong("Leave it out: of a service the whole address is a secret, named in `secret`.")
        return
    if address is None:
        yield _wrong("Give the https:// address that requests are sent to.")
        return
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        yield _wrong("Write it as https://HOST/PATH.")
        return
    if parts.scheme not in ("https", "http") or not _is_host(host) or not _is_plain(address):
        yield _wrong("Write it as https://HOST/PATH, as it stands in a browser, in ASCII.")
    elif parts.username is not None or parts.password is not None:
        yield _wrong("Take the user and the password out: requests are signed instead.")
    elif parts.fragment:
        yield _wrong("Take the part behind # out: nobody is sent it.")
    elif not private and parts.scheme == "http":
        yield _wrong("Use https: what is sent would be readable on its way.")
    elif not private and (host.lower() == "localhost" or not is_public(host, unknown=True)):
        yield Objection(errors.RECEIVER_NOT_PUBLIC, "url", errors.RECEIVER_NOT_PUBLIC.hint)


def is_public(host: str, *, unknown: bool = False) -> bool:
    """Whether an IP address is one of the public internet; `unknown` for what is none, such as a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return unknown
    inner = _within(address)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and (inner is None or is_public(str(inner)))
    )


def body_objections(
    kind: ChannelKind, events: tuple[NotificationEvent, ...], quiet: QuietHours | None, zones: frozenset[str]
) -> Iterator[Objection]:
    """What is wrong with the rest. `zones`: the time zones that there are."""
    if kind not in set(ChannelKind):
        yield Objection(errors.INVALID_FIELD, "kind", f"Use one of {', '.join(ChannelKind)}.")
    if not events or not set(events) <= set(CHOSEN):
        yield Objection(errors.INVALID_FIELD, "events", f"Use one or more of {', '.join(CHOSEN)}.")
    if quiet is None:
        return
    for field, text in (("start", quiet.start), ("end", quiet.end)):
        if not _TIME.match(text):
            yield Objection(errors.INVALID_FIELD, f"quietHours.{field}", "Write it as HH:MM, from 00:00 to 23:59.")
    if quiet.start == quiet.end:
        yield Objection(errors.INVALID_FIELD, "quietHours.end", "Give another time: nothing would ever be sent.")
    if quiet.time_zone not in zones:
        hint = "Use a name of the IANA time zone database, such as Europe/Berlin or UTC."
        yield Objection(errors.INVALID_FIELD, "quietHours.timeZone", hint)


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | None:
    """The IPv4 address that one of IPv6 leads to (mapped, 6to4, Teredo, NAT64); None where there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _is_host(host: str) -> bool:
    # A name that ends in a number is read as an address by resolvers: 127.1 leads to this machine.
    last = host.rstrip(".").rpartition(".")[2]
    is_name = bool(_HOST.match(host)) and not _NUMBER.match(last)
    return is_name or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_plain(address: str) -> bool:
    return address.isascii() and address.isprintable() and " " not in address and "\\" not in address


def _wrong(hint: str) -> Objection:
    return Objection(errors.INVALID_FIELD, "url", hint)
