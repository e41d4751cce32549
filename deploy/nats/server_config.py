"""Renders the NATS server's configuration file.

Promise: what the server acknowledged is on the disk (`sync_interval: always`); it listens on the given
address only; nobody connects without an nkey, and each key may do what `permissions` says. The file
holds public keys only and no secret.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from deploy.nats.permissions import Identity

MAX_PAYLOAD_BYTES = 1024 * 1024


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
        "authorization {",
        "  timeout: 2",
        "  users: [",
        *(_user(public, identity) for public, identity in users.items()),
        "  ]",
        "}",
    ]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A string as NATS's parser reads it: like JSON's, but it knows only these escapes, and UTF-8 as it is."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(each, f"\\x{ord(each):02x}" if each < " " else each) for each in value) + '"'


def _user(public: str, identity: Identity) -> str:
    permissions = {
        "publish": {"allow": list(identity.publish), "deny": list(identity.deny_publish)},
        "subscribe": {"allow": list(identity.subscribe)},
    }
    return f"    {{ nkey: {json.dumps(public)}, permissions: {json.dumps(permissions)} }},"
