"""Settings of a process: typed, from environment variables `WEDSYNC_…`, documented in one generated table.

An error names the variable and the form that is expected, never the value, since values may be secrets. A variable
`WEDSYNC_…` that no process reads is refused: whoever misspells one believes in a setting that binds nothing.
"""

import difflib
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from contracts.errors import INVALID_SETTING, PlatformError

PREFIX = "WEDSYNC_"
_NAMES = Path(__file__).with_name("variables.txt")
"""Every variable that one of the platform's programs reads, a line each; written with docs/settings.md."""
_OF_CONTAINERS = re.compile(
    r"\w+_SERVICE_(?:HOST|PORT(?:_\w+)?)|\w+_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?"
)
"""What container platforms set of their own accord for a neighbour whose name begins as our variables do."""
_OF_CONTAINERS_PORT = re.compile(r"(?:tcp|udp|sctp)://")
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

T = TypeVar("T", bound="Settings")

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all groups of settings. A field `nats_url` is read from `WEDSYNC_NATS_URL`.

    The description in a field's `Meta` is its line in docs/settings.md. Types: str, int, float, bool, Path,
    tuple[str, ...] and tuple[Path, ...] (comma separated, or a JSON list for what has commas itself), an Enum or a
    Literal of texts, each perhaps `| None`.
    An empty variable counts as one that is not set; where a text has a default, it is refused, since nobody can know
    which of the two was meant. Every number has two bounds (`tests/contract/test_settings_table.py`).

    `WITHIN`: narrower limits, each with the wider one that it is within: where the wider one is set and the narrower
    is not, that is no more than it.
    """

    WITHIN: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Raise INVALID_SETTING with both variables where a narrower limit can never bind, since the wider is less."""
        for field, wider in self.WITHIN.items():
            smaller, larger = getattr(self, field), getattr(self, wider)
            if smaller > larger:
                variable, bound = variable_of(field), variable_of(wider)
                raise PlatformError(
                    INVALID_SETTING,
                    f"{variable} is {smaller}, and {bound} is {larger}: the first can never be reached",
                    field=variable,
                    hint=f"Set {variable} to {larger} or less, or {bound} to {smaller} or more.",
                )


class ServiceSettings(Settings, frozen=True, kw_only=True):
    """What every process of a service needs."""

    postgres_dsn: Annotated[
        str,
        Meta(
            min_length=1,
            examples=["host=127.0.0.1 port=5432 user=config dbname=wedsync"],
            description="How the service's own role reaches Postgres: a libpq connection string or URL. Sessions are "
            "kept, so no pooler in transaction mode stands in between.",
        ),
    ]
    postgres_role: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,62}\Z")] | None,
        Meta(
            description="The service's own role; `WEDSYNC_POSTGRES_DSN` names none then, and is the same of all "
            "processes.",
        ),
    ] = None
    postgres_password_file: Annotated[
        Path | None,
        Meta(
            description="File with the role's password, and nothing else but the end of its line; "
            "`WEDSYNC_POSTGRES_DSN` has none then."
        ),
    ] = None
    postgres_schema: Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_]{0,55}\Z", description="The schema that holds the service's record.")
    ]
    nats_url: Annotated[
        str,
        Meta(
            min_length=1,
            examples=["nats://127.0.0.1:4222"],
            description="Where NATS is; several with commas. With `tls://` nothing is said before the server's "
            "certificate was verified.",
        ),
    ]
    nats_seed_file: Annotated[
        Path | None, Meta(description="File with the nkey seed of the process's NATS identity.")
    ] = None
    nats_ca_file: Annotated[
        Path | None,
        Meta(description="PEM file with the authorities that sign for NATS; without it, those of the system."),
    ] = None
    health_port: Annotated[
        Port, Meta(description="Port of `/health/live`, `/health/ready` and `/metrics`; 0 takes a free one.")
    ] = 0
    health_host: Annotated[
        str,
        Meta(
            description="Address that this port listens on. Nobody is asked who he is there: on another address than "
            "loopback the network lets probes and Prometheus in, and nobody else."
        ),
    ] = "127.0.0.1"
    keys_dir: Annotated[
        Path,
        Meta(description="Folder of the sealing keys and credentials; apart from all data, never in a backup of it."),
    ]
    locations_file: Annotated[
        Path, Meta(description="JSON file of the registered locations: endpoints, buckets and folders.")
    ]
    excluded_folders: Annotated[
        tuple[Path, ...],
        Meta(
            description="Folders that are never a source or a tier, nor is what lies below them: the platform's own. "
            "That of the keys is always one."
        ),
    ] = ()
    tier_folders: Annotated[
        tuple[Path, ...], Meta(description="Folders among the excluded ones in which tiers may lie all the same.")
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    otel_endpoint: Annotated[
        str | None,
        Meta(
            examples=["http://127.0.0.1:4318"],
            description="Base URL of an OTLP/HTTP receiver for traces; without it none are exported.",
        ),
    ] = None
    otel_sample_ratio: Annotated[
        float, Meta(ge=0.0, le=1.0, description="Share of new traces that is exported, 0 to 1.")
    ] = 1.0


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def load(cls: type[T], environ: Mapping[str, str]) -> T:
    """Read settings from an environment. Raises INVALID_SETTING with the variable as `field`."""
    refuse_unknown(environ, beside=frozenset(map(variable_of, cls.__struct_fields__)))
    hints = typing.get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    missing: list[str] = []
    for field in msgspec.structs.fields(cls):
        variable = variable_of(field.name)
        text = environ.get(variable, "").strip()
        if text:
            values[field.name] = _read(variable, text, hints[field.name])
        elif field.required:
            missing.append(field.name)
        elif variable in environ and isinstance(field.default, str) and split_hint(hints[field.name])[0] is str:
            raise _invalid(variable, "is empty", hints[field.name])
    if missing:
        raise _missing(missing, hints)
    for narrower, wider in cls.WITHIN.items():
        if narrower not in values and wider in values:
            values[narrower] = min(values[wider], _default_of(cls, narrower))
    return cls(**values)


def _default_of(cls: type[Settings], field: str) -> Any:
    return next(each.default for each in msgspec.structs.fields(cls) if each.name == field)


def refuse_unknown(environ: Mapping[str, str], *, beside: frozenset[str] = frozenset()) -> None:
    """Raise INVALID_SETTING with the variable, and the one that it may be meant to be, where no program reads it.

    Those of other processes are known, too: several may share one file of settings.
    """
    ours = {name for name, text in environ.items() if name.startswith(PREFIX) and text.strip()}
    if not ours:
        return
    known = beside.union(_NAMES.read_text("ascii").split())
    for name in sorted(ours - known):
        if _OF_CONTAINERS.fullmatch(name) or (name.endswith("_PORT") and _OF_CONTAINERS_PORT.match(environ[name])):
            continue
        ends = [each.removeprefix(PREFIX) for each in known]
        near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1)
        raise PlatformError(
            INVALID_SETTING,
            f"{name} is no setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else ""),
            field=name,
            hint=f"Remove {name}, or correct its spelling; docs/settings.md lists all settings.",
        )


def _read(variable: str, text: str, hint: Any) -> Any:
    kind, _ = split_hint(hint)
    value: object = text
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _invalid(variable, "is not valid", hint)
        value = text.lower() in _TRUE
    elif get_origin(kind) is tuple:
        value = _list(text)
    elif kind is int and not _WHOLE.fullmatch(text):
        raise _invalid(variable, "is not valid", hint)
    try:
        read = msgspec.convert(value, hint, strict=False, dec_hook=_construct)
    except (msgspec.ValidationError, ValueError):
        # The library's message may quote the value.
        raise _invalid(variable, "is not valid", hint) from None
    if isinstance(read, float) and not math.isfinite(read):
        raise _invalid(variable, "is not valid", hint)
    return read


def _list(text: str) -> object:
    """The items of a list; anything else where it is meant as JSON and is none."""
    if not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        # Not msgspec: a path that is not UTF-8 has lone surrogates.
        return json.loads(text)
    except ValueError:
        return None


def _construct(kind: type[Any], value: object) -> Any:
    """What the library does not know, `Path` that is, is made of the text. Raises ValueError for what names nothing."""
    if not value or "\0" in str(value):
        raise ValueError
    return kind(value)


def _invalid(variable: str, fault: str, hint: Any) -> PlatformError:
    form = form_of(hint)
    return PlatformError(
        INVALID_SETTING,
        f"{variable} {fault}; expected: {form}",
        field=variable,
        hint=f"Set {variable} to {form}; docs/settings.md lists all settings.",
    )


def _missing(fields: list[str], hints: Mapping[str, Any]) -> PlatformError:
    """All that is not set, at once."""
    first, *others = (_invalid(variable_of(name), "is not set", hints[name]) for name in fields)
    if not others:
        return first
    names = ", ".join(variable_of(name) for name in fields)
    told = [f"{variable_of(name)} to {form_of(hints[name])}" for name in fields]
    return PlatformError(
        INVALID_SETTING,
        f"{names} are not set",
        field=first.field,
        hint=f"Set {'; '.join(told)}. docs/settings.md lists all settings.",
    )


def split_hint(hint: Any) -> tuple[Any, list[Meta]]:
    """A hint without `Annotated` and `None`, and the `Meta`s that were around it."""
    metas: list[Meta] = []
    while True:
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            metas = [extra for extra in extras if isinstance(extra, Meta)] + metas
        elif get_origin(hint) in (Union, types.UnionType):
            hint = next(arm for arm in get_args(hint) if arm is not type(None))
        else:
            return hint, metas


def form_of(hint: Any) -> str:
    """The expected form of a value, in words."""
    kind, metas = split_hint(hint)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if get_origin(kind) is tuple:
        item, metas = split_hint(get_args(kind)[0])
        examples = [f", such as `{example}`" for meta in metas for example in meta.examples or ()]
        return "".join(["paths" if item is Path else "texts", " separated by commas, or a JSON list", *examples])
    name = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}[kind]
    bounds = [
        text
        for meta in metas
        for text in (
            f"at least {meta.ge}" if meta.ge is not None else "",
            f"at most {meta.le}" if meta.le is not None else "",
            f"above {meta.gt}" if meta.gt is not None else "",
            f"below {meta.lt}" if meta.lt is not None else "",
            f"that matches `{meta.pattern}`" if meta.pattern is not None else "",
        )
        if text
    ]
    examples = [f"such as `{example}`" for meta in metas for example in meta.examples or ()]
    return " ".join([name, *[" and ".join(bounds)] * bool(bounds), *examples])
