"""An entry of the registry from what an operator has written, or the refusal of what could never be one.

Here is what the words alone tell; `deploy.locations.places` looks where it lies, `deploy.locations.check` at what is
there.
"""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from chassis.location import ANY_ORGANISATION, SCHEME_OF_KIND, Location, fault_of
from contracts import errors
from contracts.errors import PlatformError
from contracts.identifiers import ORGANISATION, ORGANISATION_RULE
from gateway.http.texts import unreadable_character
from repository.errors import LocationInvalid
from repository.tiers.location import s3_options

Role = Literal["source", "tier", "target"]
Kind = Literal["directory", "s3", "postgres"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_KINDS: dict[str, Kind] = {"file": "directory", "s3": "s3", "postgres": "postgres", "postgresql": "postgres"}
_FORMS = "file:///PATH, s3://BUCKET/PREFIX?endpoint=URL&region=NAME or postgres://USER@HOST:PORT/DATABASE"


def entry(
    *, name: str, role: Role, url: str, organisations: Sequence[str], lock: bool = False, credentials: bool = False
) -> Location:
    """The location that an operator means. `credentials`: whether it has some. Raises INVALID_FIELD."""
    checked_name(name)
    for each in organisations:
        if each != ANY_ORGANISATION and not ORGANISATION.fullmatch(each):
            raise invalid("organisation", f"{_shown(each)} is no organisation's id: one {ORGANISATION_RULE}")
    kind = _kind_of(url)
    if role == "tier" and kind == "postgres":
        raise invalid("role", "a database is a source, and never a tier", "Use --role source.")
    if role == "target" and kind != "directory":
        raise invalid("role", "what is restored to over the API is a folder", "Use --url file:///PATH.")
    if role == "target" and (ANY_ORGANISATION in organisations or len(set(organisations)) > 1):
        hint = "Register a folder of its own for each: what one restores, another could overwrite, or find."
        raise invalid("organisation", "a place to restore to is one organisation's alone", hint)
    if lock and (kind != "s3" or role != "tier"):
        raise invalid("lock", "only a tier in a bucket can lock", "Leave --lock out, or use a bucket with object lock.")
    location = Location(
        name=name,
        kind=kind,
        roles=(role,),
        organisations=tuple(dict.fromkeys(organisations)),
        url=_in_one_spelling(kind, url),
        credentials=secret_name(name, organisations) if credentials else None,
        region=parse_qs(urlsplit(url).query).get("region", [None])[0] if kind == "s3" else None,
        lock=lock,
    )
    if (fault := fault_of(location)) is not None:
        raise invalid("url", fault)
    if kind == "s3":
        try:
            s3_options(location.url)
        except LocationInvalid as error:
            raise invalid("url", str(error), error.hint) from error
    return location


def checked_name(name: str) -> str:
    """A location's name. Raises INVALID_FIELD."""
    if not _NAME.fullmatch(name):
        rule = "Use 1 to 63 lower-case letters, digits and '-', and begin with a letter or digit."
        raise invalid("name", f"{_shown(name)} is no location's name", rule)
    return name


def secret_name(name: str, organisations: Sequence[str]) -> str:
    """What a location's credentials are called: among their organisation's own where the location is one's alone."""
    owner = organisations[0] if len(set(organisations)) == 1 else ANY_ORGANISATION
    return name if owner == ANY_ORGANISATION else f"{owner}/{name}"


def invalid(field: str, message: str, hint: str | None = None) -> PlatformError:
    """A refusal of what was written. `hint`: how it is written instead."""
    return PlatformError(errors.INVALID_FIELD, message, field=field, hint=hint or f"Correct --{field}, then try again.")


def _kind_of(url: str) -> Kind:
    if (character := unreadable_character(url)) is not None:
        hint = "Write what nobody sees, and what changes the order of others, percent-encoded (%E2%80%8B)."
        raise invalid("url", f"the address has {character}", hint)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise invalid("url", "the address cannot be read", f"Write {_FORMS}.") from None
    kind = _KINDS.get(parts.scheme)
    if parts.scheme == "postgres-cluster":
        hint = "Save it by the command alone (repo backup, repo follow), or register its databases, postgres://…"
        raise invalid("url", "a cluster as a whole is not saved by the platform yet", hint)
    if kind is None:
        hint = f"Write file://{quote(url)}." if url.startswith("/") else f"Write {_FORMS}."
        raise invalid("url", "the address begins with no scheme that is known", hint)
    # Not repeated: it holds a secret, and is in the history of the shell already.
    if "@" in parts.netloc and (kind != "postgres" or parts.password is not None):
        hint = "Leave the secret out, name it with --credentials, and rotate it: others may have read it."
        raise invalid("url", "credentials do not belong into an address", hint)
    if kind == "directory" and (parts.netloc not in {"", "localhost"} or not parts.path.startswith("/")):
        raise invalid("url", "the path of a folder is absolute", "Write file:///PATH with three slashes.")
    if kind == "directory" and any(each in url for each in "?#"):
        raise invalid("url", "a folder's address has no ? and no #", "Write them as %3F and %23.")
    return kind


def _in_one_spelling(kind: Kind, url: str) -> str:
    parts = urlsplit(url)
    if kind == "directory":
        return f"file://{quote(unquote(parts.path, errors='surrogateescape').encode(errors='surrogateescape'))}"
    return parts._replace(scheme=SCHEME_OF_KIND[kind]).geturl()


def _shown(text: str) -> str:
    """What was written, with what a reader would not see as its number."""
    return ascii(text[:80]) if unreadable_character(text) is not None else repr(text[:80])
