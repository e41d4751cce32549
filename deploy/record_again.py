"""Has the record of a service published again into a stream that was lost or replaced, because an operator says so."""

from collections.abc import Callable, Mapping
from pathlib import Path

from chassis.outbox.continuity import StreamView
from chassis.outbox.tables import RefillPermission, refill_refusal
from contracts.errors import PlatformError
from contracts.streams import stream_of
from contracts.subjects import SERVICES
from gateway.projections.record import announce_record
from services.compliance.adapters.log import announce_record as announce_to_audit_log
from services.compliance.adapters.log import put_back

ALL = "all"
READ_MODELS = "gateway"
AUDIT_LOG = "compliance"


async def require_possible(
    dsn: str, views: Mapping[str, StreamView], keys_dir: Path | None, command: Callable[[str], str]
) -> None:
    """Raise what no time helps, naming each stream and its command, before anything is permitted.

    `command`: what begins a new incarnation of a service's log, or of all. `keys_dir`: where what was signed last of
    the audit log is remembered; None: its service alone looks there, and refuses by itself. Raises UNAVAILABLE.
    """
    found = {service: await refill_refusal(dsn, service, view) for service, view in views.items()}
    told = {service: f"the stream {stream_of(service)}: {error.message}" for service, error in found.items() if error}
    if AUDIT_LOG in views and keys_dir is not None:
        unlike = await put_back(dsn, AUDIT_LOG, keys_dir)
        if unlike is not None:
            found[AUDIT_LOG] = unlike
            told[AUDIT_LOG] = "; ".join(filter(None, (told.get(AUDIT_LOG), unlike.message)))
    refused = {service: error for service, error in found.items() if error is not None}
    if not refused:
        return
    commands = ", ".join(command(service) for service in refused)
    if set(views) == set(SERVICES):
        commands += f"; of all at once: {command(ALL)}"
    raise PlatformError(
        next(iter(refused.values())).code,
        "; ".join(told.values()),
        hint=f"Nothing was permitted. Look first which of the two was replaced (docs/operations.md, section 3);"
        f" is the record as it is now to go on: {commands}.",
    )


async def announce(dsn: str, service: str, given: RefillPermission, *, new_incarnation: bool) -> None:
    """Tell read models and audit log which log is the record. Twice is once. Raises UNAVAILABLE."""
    await announce_record(dsn, READ_MODELS, service, log=given.incarnation, position=given.last)
    restarts = new_incarnation and service == AUDIT_LOG
    await announce_to_audit_log(dsn, AUDIT_LOG, service, log=given.incarnation, restarts=restarts)
