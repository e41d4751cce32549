"""Renders the NATS server's configuration file.

Promise: what the server acknowledged is on the disk (`sync_interval: always`); it listens on the given
address only; nobody connects without an nkey, and each key may do what `permissions` says. Identities that are
apart have accounts of their own: whatever they make the server answer, and to whom, stays in there. The file
holds public keys only and no secret.
"""

import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import msgspec

from contracts.looking import ANSWER_SECONDS
from contracts.subjects import JETSTREAM_API
from deploy.nats.permissions import API, Identity

PLATFORM = "platform"
"""The account that has the streams."""
MAX_PAYLOAD_BYTES = 1024 * 1024
ACCOUNTS_HEAD = "# Rendered by deploy.elsewhere; changes are lost."
"""The first line of a file of accounts alone."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from one server to the next. Bytes; `monitor_port` serves `/healthz` on loopback, None for none."""

    port: int
    store_dir: Path
    host: str = "127.0.0.1"
    name: str = "wedsync-backup"
    monitor_port: int | None = None
    max_memory_bytes: int = 128 * 1024 * 1024
    max_file_bytes: int | None = None
    sync_always: bool = True


def render(settings: ServerSettings, users: Mapping[str, Identity]) -> str:
    """The configuration. `users` maps the public nkey to the identity that it stands for."""
    text = quoted
    lines = [
        "# Rendered by deploy.nats.server_config; changes are lost.",
        f"server_name: {text(settings.name)}",
        f"listen: {text(f'{settings.host}:{settings.port}')}",
        *((f"http: {text(f'127.0.0.1:{settings.monitor_port}')}",) if settings.monitor_port is not None else ()),
        f"max_payload: {MAX_PAYLOAD_BYTES}",
        "ping_interval: 20s",
        "write_deadline: 10s",
        "lame_duck_grace_period: 1s",
        "lame_duck_duration: 30s",
        "jetstream {",
        f"  store_dir: {text(str(settings.store_dir))}",
        f"  max_memory_store: {settings.max_memory_bytes}",
        *((f"  max_file_store: {settings.max_file_bytes}",) if settings.max_file_bytes is not None else ()),
        *(("  sync_interval: always",) if settings.sync_always else ()),
        "}",
        "authorization { timeout: 2 }",
        *_accounts(users),
    ]
    return "\n".join(lines) + "\n"


def render_accounts(users: Mapping[str, Identity]) -> str:
    """The accounts alone, for a server whose other settings are its operator's. `users` as for `render`."""
    return "\n".join([ACCOUNTS_HEAD, *_accounts(users)]) + "\n"


def _accounts(users: Mapping[str, Identity]) -> list[str]:
    apart = [each for each in users.values() if each.is_apart]
    names = {each.name for each in apart}
    return [
        "accounts {",
        *_platform({public: each for public, each in users.items() if not each.is_apart}, apart),
        *(line for public, each in users.items() if each.is_apart for line in _account(public, each, names)),
        "}",
    ]


def quoted(value: str) -> str:
    """A string as NATS's parser reads it: like JSON's, but it knows only these escapes, and UTF-8 as it is."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(each, f"\\x{ord(each):02x}" if each < " " else each) for each in value) + '"'


def _platform(users: Mapping[str, Identity], apart: Sequence[Identity]) -> list[str]:
    asked, heard = defaultdict(list), defaultdict(list)
    for each in apart:
        for subject in each.publish:
            asked[_exported(subject)].append(_account_of(each))
        for subject in each.hears:
            heard[subject].append(_account_of(each))
    exports = [
        # A batch of messages is several answers to one question.
        *({"service": subject, "accounts": who, "response_type": "stream"} for subject, who in asked.items()),
        *({"stream": subject, "accounts": who} for subject, who in heard.items()),
    ]
    return [
        f"  {json.dumps(PLATFORM)}: {{",
        "    jetstream: enabled",
        f"    exports: {json.dumps(exports)}",
        "    users: [",
        *(_user(public, each) for public, each in users.items()),
        "    ]",
        "  }",
    ]


def _account(public: str, identity: Identity, names: Container[str]) -> list[str]:
    # Who is asked, or asks, has no account in a file of a part of the identities.
    imports = [
        *(
            {"service": {"account": PLATFORM, "subject": _exported(subject)}, "to": subject}
            for subject in identity.publish
        ),
        *({"stream": {"account": PLATFORM, "subject": subject}} for subject in identity.hears),
        *({"service": {"account": _named(who), "subject": subject}} for subject, who in identity.asks if who in names),
    ]
    exports = [{"service": subject, "accounts": [_named(who)]} for subject, who in identity.answers if who in names]
    return [
        f"  {json.dumps(_account_of(identity))}: {{",
        f"    imports: {json.dumps(imports)}",
        *((f"    exports: {json.dumps(exports)}",) if exports else ()),
        "    users: [",
        _user(public, identity),
        "    ]",
        "  }",
    ]


def _account_of(identity: Identity) -> str:
    return _named(identity.name)


def _named(identity: str) -> str:
    return f"of-{identity}"


def _exported(subject: str) -> str:
    """A subject of one who is apart as the platform's account knows it."""
    return API + subject.removeprefix(JETSTREAM_API) if subject.startswith(JETSTREAM_API) else subject


def _user(public: str, identity: Identity) -> str:
    permissions: dict[str, object] = {
        "publish": {
            "allow": [*identity.publish, *(subject for subject, _ in identity.asks)],
            "deny": list(identity.deny_publish),
        },
        "subscribe": {"allow": list(identity.subscribe)},
    }
    if identity.answers:
        # To whoever has asked it, once each, and in the time in which an answer is waited for.
        permissions["allow_responses"] = {"max": 1, "expires": f"{ANSWER_SECONDS * 2:.0f}s"}
    return f"      {{ nkey: {json.dumps(public)}, permissions: {json.dumps(permissions)} }},"
