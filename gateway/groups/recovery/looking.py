"""What lies inside recovery points, as it is asked for and as it is shown."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import (
    EntryFound,
    PointLooked,
)
from gateway.groups.recovery.resources import EntryKindShown, PointEntries, PointEntry, PointVersion, RecoveryPoint
from gateway.http.problems import error_of_code

PATH_MAX = 4096
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def path_asked(path: str, path_bytes: str | None) -> bytes:
    """The path as it is in a snapshot: by its text, or by its bytes in base64. Raises INVALID_FIELD."""
    if path_bytes is None:
        raw = path.encode("utf-8", "surrogatepass")
        field = "path"
    else:
        field = "pathBytes"
        if path:
            raise _invalid(field, "the path is given twice", "Give `path`, or `pathBytes`.")
        try:
            raw = base64.b64decode(path_bytes.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid(field, "this is no base64", "Send `nameBytes` of the entries on the way.") from error
    if len(raw) > PATH_MAX or b"\x00" in raw or any(name in (b".", b"..") for name in raw.split(b"/")):
        raise _invalid(field, "no entry has such a path", "Name folders and an entry as they are listed, without `..`.")
    return b"/".join(filter(None, raw.split(b"/")))


def _invalid(field: str, message: str, hint: str) -> PlatformError:
    return PlatformError(errors.INVALID_FIELD, message, field=field, hint=hint)


def shown_entries(looked: PointLooked, path: bytes, next_cursor: str | None) -> PointEntries:
    """A point's answer as a resource. Raises what kept the worker from looking, and ENTRY_UNKNOWN."""
    if looked.code is not None:
        raise error_of_code(looked.code)
    if looked.entry is None:
        raise PlatformError(errors.ENTRY_UNKNOWN, "the recovery point has nothing at this path", field="path")
    return PointEntries(
        recovery_point_id=looked.recovery_point_id,
        path=shown_name(path)[0],
        entry=_entry(msgspec.structs.replace(looked.entry, name=path.rpartition(b"/")[2])),
        items=[_entry(each) for each in looked.entries],
        next_cursor=next_cursor,
        is_whole=not looked.unreadable_pages and not looked.hidden,
    )


def shown_version(point: RecoveryPoint, looked: PointLooked, before: PointLooked | None) -> PointVersion:
    """What one point has at the path. `before`: what the next older one of those looked into has."""
    found = looked.entry
    is_same: bool | None = None
    if looked.code is None and before is not None and before.code is None:
        is_same = _alike(found, before.entry)
    return PointVersion(
        recovery_point_id=point.id,
        completed_at=point.completed_at,
        is_there=None if looked.code is not None else found is not None,
        size=None if found is None or found.kind.value == "folder" else found.size,
        modified_at=None if found is None else _time(found.modified_ns),
        kind=None if found is None else EntryKindShown(found.kind.value),
        content_id=found.content or None if found is not None else None,
        is_changed=None if is_same is None else not is_same,
        code=looked.code,
    )


def _alike(one: EntryFound | None, other: EntryFound | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.size, one.content, one.target) == (other.kind, other.size, other.content, other.target)


def _entry(found: EntryFound) -> PointEntry:
    name, name_bytes = shown_name(found.name)
    target, target_bytes = shown_name(found.target)
    kind = EntryKindShown(found.kind.value)
    return PointEntry(
        name=name,
        name_bytes=name_bytes,
        kind=kind,
        size=found.size if kind is EntryKindShown.FILE else None,
        modified_at=_time(found.modified_ns),
        content_id=found.content or None,
        target=target or None,
        target_bytes=target_bytes,
        states=list(found.states),
    )


def shown_name(name: bytes) -> tuple[str, str | None]:
    r"""A name as text, what is not printable as `\xNN`; and its bytes in base64 where the text does not tell them."""
    text = name.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    is_told = text.encode("utf-8") == name and "\\x" not in text
    return text, None if is_told else base64.urlsafe_b64encode(name).decode("ascii")


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def _time(nanoseconds: int) -> datetime | None:
    """A time of the source; None beyond what a calendar has."""
    try:
        return _FIRST + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
