"""What Postgres's programs complain of, as errors that say what to do: which right is missing, what is not there."""

import re
from typing import Final

from repository.backup.source import FileProblem, Reason, SourceUnreachable
from repository.errors import Retry
from sources.postgres.catalog import Catalog, quoted
from sources.postgres.database import Database
from sources.postgres.programs import Complaint

TOO_OLD: Final = (
    "Postgres's programs are older than the server: install those of its major version, and name their folder by "
    "WEDSYNC_POSTGRES_TOOLS."
)
_CONNECTING: Final = (
    (r"password authentication failed|no password supplied|role .* does not exist|PAM auth", "credentials-refused",
     "Check user and password: PGPASSWORD, or what the credentials of the location hold."),
    (r"no pg_hba\.conf entry|not permitted to log in|permission denied for database", "access-denied",
     "The server lets this user not in from here: look at its pg_hba.conf, and GRANT CONNECT ON DATABASE."),
    (r"certificate|SSL|root\.crt", "certificate-refused",
     "The connection is not encrypted as the address wants it: look at the server's certificate (has it expired?), "
     "at sslmode and sslrootcert."),
    (r'database ".*" does not exist', "database-missing", "Look at the name behind the host."),
    (r"could not translate host name|Connection refused|timeout expired|No route|Network is unreachable|No such file",
     "unreachable", "Is the server up, and reachable from here? Look at host and port."),
    (r"too many (clients|connections)|remaining connection slots", "connections-exhausted",
     "The server has no connection left: raise max_connections, or back up when it is quieter."),
    (r"server version mismatch|aborting because of server|unsupported version", "tools-too-old", TOO_OLD),
)  # fmt: skip
"""Words of libpq and of pg_dump, as they are since long; what they mean; what to do."""
_LATER: Final = frozenset({"unreachable", "connections-exhausted"})
_OF_ONE_TABLE: Final = {
    "42P01": (Reason.VANISHED, "was dropped while the dump ran"),
    "3F000": (Reason.VANISHED, "was dropped while the dump ran"),
    "42703": (Reason.UNREADABLE, "its columns were changed while the dump ran"),
    "22012": (Reason.UNREADABLE, "was rewritten or emptied (TRUNCATE, ALTER, VACUUM FULL) while the dump ran"),
    "55P03": (Reason.UNREADABLE, "is locked by somebody for longer than a lock is waited for (lock_timeout)"),
    "57014": (Reason.UNREADABLE, "takes longer to read than a statement may (statement_timeout)"),
    "42501": (Reason.UNREADABLE, "may not be read"),
    "0A000": (Reason.UNREADABLE, "cannot be read there (an unlogged table on a standby has no rows)"),
    "40001": (Reason.UNREADABLE, "was changed by the standby's recovery (max_standby_streaming_delay)"),
}


def unreachable(complaint: Complaint, database: Database, *, doing: str) -> SourceUnreachable:
    """What a complaint means for the database as a whole."""
    text = "\n".join(complaint.lines)
    for words, reason, hint in _CONNECTING:
        if re.search(words, text):
            retry = Retry.LATER if reason in _LATER else Retry.AFTER_OPERATOR
            return _made(doing, complaint, reason, hint, retry)
    if complaint.state == "42501":
        return _made(doing, complaint, "access-denied", granting(database.login), Retry.AFTER_OPERATOR)
    if complaint.state in {"55P03", "57014"} or "lock timeout" in text:
        hint = "Somebody holds a lock (a migration?): run again when it is over, or raise the address's lock-timeout."
        return _made(doing, complaint, "locked", hint, Retry.LATER)
    reason = complaint.state or ("cut-off" if complaint.is_cut_off else "failed")
    hint = "Is the server up? What it did not give is not in a snapshot: run again."
    return _made(doing, complaint, reason, hint, Retry.LATER)


def _made(doing: str, complaint: Complaint, reason: str, hint: str, retry: Retry) -> SourceUnreachable:
    # What a server says names tables, users and hosts: it is for whoever reads the hint, and for no log.
    return SourceUnreachable(
        f"the database {doing}", hint=f"{hint} It says: {complaint.said}", retry=retry, reason=reason
    )


def of_table(complaint: Complaint, database: Database) -> FileProblem | SourceUnreachable:
    """What a complaint means that came while one table was read: the rest goes on where it concerns that one alone."""
    if complaint.state in _OF_ONE_TABLE and not complaint.is_cut_off:
        reason, words = _OF_ONE_TABLE[complaint.state]
        return FileProblem(reason, words)
    if complaint.state.startswith("XX"):
        return FileProblem(Reason.UNREADABLE, f"is damaged in the database: {complaint.said}")
    return unreachable(complaint, database, doing="broke off")


def granting(user: str, *, hidden: bool = False) -> str:
    """The statements that give whoever backs up what it needs."""
    name = quoted(user)
    grants = [f"GRANT pg_read_all_data TO {name};"]
    if hidden:
        grants.append(f"ALTER ROLE {name} BYPASSRLS;")
    return f"As a superuser (or as postgres at Supabase): {' '.join(grants)}"


def refuse_what_is_not_readable(catalog: Catalog) -> None:
    """Raise where rows or definitions would be missing: a dump that leaves them out is none."""
    if catalog.closed_objects:
        name = quoted(catalog.user)
        raise SourceUnreachable(
            f"{catalog.closed_objects:,} of the database's large objects may not be read",
            hint=f"As their owner: GRANT SELECT ON LARGE OBJECT … TO {name}; or GRANT their owner TO {name}.",
            retry=Retry.AFTER_OPERATOR,
            reason="access-denied",
            answers=True,
        )
    missing = [*catalog.forbidden, *catalog.hidden]
    if not missing:
        return
    what = "may not be read" if catalog.forbidden else "have row security, which would hide rows"
    raise SourceUnreachable(
        f"{len(missing):,} of the database's tables {what}",
        hint=f"{granting(catalog.user, hidden=bool(catalog.hidden))} One of them is {missing[0]}.",
        retry=Retry.AFTER_OPERATOR,
        reason="access-denied",
        answers=True,
    )
