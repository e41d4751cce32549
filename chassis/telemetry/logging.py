"""Structured logs: one JSON object a line on stderr.

Promise: a line never carries a body, a secret or personal data. Our own modules log constant messages
with ids and figures beside them (`extra={...}`); an exception is written as its code, its type and
where it was raised, and its text only where that text is ours (`PlatformError` and contract errors),
since a driver's text may quote a row or a path. Of other libraries only warnings are written, with the
message's template instead of the finished text.

Fields: `time` (RFC 3339, UTC), `level`, `service`, `logger`, `message`, `traceId`, `error`, and what
was given as `extra` or bound by `log_context`, in that order.
"""

import errno
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType

import msgspec

from chassis.telemetry.instruments import current_trace_id
from contracts.envelope import MalformedEvent, UnknownEventType
from contracts.errors import PlatformError

OURS = frozenset(
    (
        *("__main__", "benchmarks", "chassis", "cli", "contracts", "deploy", "gateway"),
        *("repository", "services", "sources", "tests", "vault"),
    )
)
_WITHHELD = frozenset(
    (
        *("authorization", "body", "cookie", "credentials", "data", "header", "headers"),
        *("password", "payload", "secret", "seed", "token"),
    )
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST = 256
_CHAIN = 4
_BOUND: ContextVar[MappingProxyType[str, object]] = ContextVar("bound", default=MappingProxyType({}))
_SERVICE: ContextVar[str | None] = ContextVar("service", default=None)
_ENCODER = msgspec.json.Encoder()
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+){1,4}")
_QUOTED = re.compile(r"'[^']*'")


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Add these fields to every line that is logged inside the block, in this task and those that it starts."""
    token = _BOUND.set(MappingProxyType({**_BOUND.get(), **fields}))
    try:
        yield
    finally:
        _BOUND.reset(token)


def speak_as(service: str) -> None:
    """Name this service in every line of this task and those that it starts: it runs in another one's process."""
    _SERVICE.set(service)


def configure(service: str, level: str = "INFO") -> None:
    """Send every log record of the process through the JSON formatter. Replaces the handlers of the root logger.

    `level` is that of our own modules; other libraries are heard from WARNING on. What nobody catches is
    logged in the same form, in any thread, since Python would print the error's text.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in OURS:
        logging.getLogger(package).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("an error was not caught", exc_info=(kind, error or kind(), trace))


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line. A value that cannot be shown is named by its type."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": _SERVICE.get() or self._service,
            "logger": record.name,
            "message": _message(record),
        }
        trace = current_trace_id()
        if trace is not None:
            line["traceId"] = trace
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        given = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        for key, value in {**_BOUND.get(), **given}.items():
            line.setdefault(key, "(withheld)" if key.lower() in _WITHHELD else _shown(value))
        return _ENCODER.encode(line).decode()


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] in OURS:
        return record.getMessage()
    # The template says what happened; the arguments are what it happened to.
    return str(record.msg).partition("\n")[0][:_LONGEST]


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value[:16]]
    return f"({type(value).__name__})"


def describe(error: BaseException) -> str:
    """An error in one line that is safe to store and to show: code and message of our own, else type and place.

    `OSError` gets the name of its number, a database error its SQLSTATE. Causes follow after `←`.
    """
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < _CHAIN:
        parts.append(_one(current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " ← ".join(parts)


def _one(error: BaseException) -> str:
    if isinstance(error, PlatformError):
        return f"{error.code.code}: {error.message}"
    if isinstance(error, UnknownEventType):
        name = str(error)
        return f"unknown event type {name if len(name) <= 128 and _NAME.fullmatch(name) else '(not a name)'}"
    if isinstance(error, MalformedEvent):
        # msgspec quotes a wrong value in single quotes, types and field names in backticks.
        return f"malformed event: {_QUOTED.sub('(value)', str(error))[:_LONGEST]}"
    detail = ""
    if isinstance(error, OSError) and error.errno is not None:
        detail = f"[{errno.errorcode.get(error.errno, error.errno)}]"
    elif isinstance(state := getattr(error, "sqlstate", None), str):
        detail = f"[{state}]"
    return f"{type(error).__name__}{detail}{_place(error.__traceback__)}"


def _place(trace: TracebackType | None) -> str:
    """Where it was raised: the innermost of our own functions, and the innermost of all where that is another."""
    innermost = mine = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", "?"))
        innermost = f"{module}.{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        if module.partition(".")[0] in OURS:
            mine = innermost
        trace = trace.tb_next
    if not innermost:
        return ""
    return f" at {innermost}" if mine in ("", innermost) else f" at {innermost}, called by {mine}"
