"""Settings of a process: typed, from environment variables `WEDSYNC_…`, documented in one generated table.

An error names the variable and the form that is expected, never the value, since values may be secrets.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all groups of settings. A field `nats_url` is read from `WEDSYNC_NATS_URL`.

    The description of a field's `Meta` is its line in docs/settings.md. Types: str, int, float, bool, Path,
    tuple[str, ...] (comma separated), StrEnum, Literal, each perhaps `| None`.
    """


class ServiceSettings(Settings, frozen=True, kw_only=True):
    """What every service needs."""

    postgres_dsn: Annotated[str, Meta(description="...")]
    postgres_schema: Annotated[str, Meta(description="...")]
    nats_url: Annotated[str, Meta(description="...")]
    nats_seed_file: Path | None = None
    health_port: int = 0
    keys_dir: Path
    locations_file: Path
    log_level: str = "info"
    otel_endpoint: str | None = None


T = TypeVar("T", bound=Settings)


def load(cls: type[T], environ: Mapping[str, str]) -> T:
    """Read settings from an environment. Raises INVALID_SETTING with the variable as `field`."""
    raise NotImplementedError


def table(groups: Sequence[type[Settings]]) -> str:
    """The contents of docs/settings.md."""
    raise NotImplementedError
