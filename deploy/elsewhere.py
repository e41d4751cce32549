"""`python -m deploy.elsewhere`: makes servers that others run ready for the platform, or brings them up to date.

Promise: the schemas, roles and tables in Postgres, then the streams and consumers in NATS, both idempotent; each server
is verified as the processes verify it, and nothing is made where a setting cannot be right. Passwords of the roles are
the database administrator's to set. The embedded stack does the same at each of its starts. Ends with 4 where dead
letters were lost with their stream, until `--accept-loss`.

`nats-accounts FOLDER FILE` makes the seeds of the NATS identities and writes the accounts for the server's
configuration, whole or not at all: a server that includes an empty file lets everybody in. `keys FOLDER` prepares the
folder of the sealing keys, unless the record knows of keys that were made before. `refill SERVICE` has a record
published again into a stream that was lost or replaced, as `wedsync-backup refill` does in the embedded stack: it ends
with 0 once the stream holds the record, with 4 where that is not so within a minute.
"""

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chassis.bus.connection import Connection
from chassis.bus.lost_letters import accept_loss, letters_info, loss_of
from chassis.bus.topology import apply
from chassis.clock import SystemClock
from chassis.key_files import read_regular
from chassis.key_notes import MARK, MARK_TEXT
from chassis.life import runtime
from chassis.life.health import Health
from chassis.outbox.chained import stream_view
from chassis.outbox.relay import refilled, request_refill
from chassis.outbox.tables import has_published
from chassis.own_folders import require_folder
from chassis.postgres.connection_string import parsed
from chassis.postgres.database import install_schema
from chassis.postgres.trust import check_trust
from chassis.sealing import is_prepared_keys_folder, prepare_keys_folder
from chassis.settings import Settings, load
from chassis.telemetry import logging
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import stream_of
from contracts.subjects import SERVICES
from deploy.misread import misread
from deploy.nats.permissions import TOPOLOGY, generate_keys, identities
from deploy.nats.server_config import ACCOUNTS_HEAD, render_accounts
from deploy.postgres.schemas import SCHEMAS
from deploy.record_again import ALL, announce, require_possible
from deploy.stack.files import write_atomically, write_once
from deploy.stack.nats import public_key


class RecordSettings(Settings, frozen=True, kw_only=True):
    """What `python -m deploy.elsewhere keys` reads."""

    postgres_admin_dsn: Annotated[
        str,
        Meta(min_length=1, description="How the database's administrator, who makes schemas and roles, reaches it."),
    ]


class ElsewhereSettings(RecordSettings, frozen=True, kw_only=True):
    """What `python -m deploy.elsewhere` reads; `nats_seed_file` is that of the identity `topology`."""

    nats_url: Annotated[str, Meta(min_length=1, description="As for the services.")]
    nats_seed_file: Annotated[Path, Meta(description="File with the nkey seed of the identity `topology`.")]
    nats_ca_file: Annotated[Path | None, Meta(description="As for the services.")] = None
    nats_replicas: Annotated[int, Meta(ge=1, le=5, description="Copies of each stream: 3 where NATS is a cluster.")] = 1


class RefillSettings(ElsewhereSettings, frozen=True, kw_only=True):
    """What `python -m deploy.elsewhere refill` reads."""

    keys_dir: Annotated[
        Path | None,
        Meta(description="As for the services: there is remembered what was signed last of the audit log."),
    ] = None


_REFUSED = 1
_DEGRADED = 4
_REFILL_SECONDS = 60.0
_POLL_SECONDS = 0.2
_PUBLIC_KEY = re.compile(r"\bU[A-Z2-7]{55}\b")
ADMIN_DSN = "WEDSYNC_POSTGRES_ADMIN_DSN"


async def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser("python -m deploy.elsewhere", description="Make servers of others ready.")
    parser.add_argument("--accept-loss", metavar="REASON", help="dead letters that were lost: it is known, and why")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    accounts = verbs.add_parser("nats-accounts", help="make the identities' seeds, write the accounts of the server")
    accounts.add_argument("folder", type=_path, metavar="FOLDER", help="where each seed lies as IDENTITY.seed")
    accounts.add_argument("file", type=_path, metavar="FILE", help="what the server's configuration includes")
    keys = verbs.add_parser("keys", help="prepare the folder of the sealing keys, once")
    keys.add_argument("folder", type=_path, metavar="FOLDER", help="what WEDSYNC_KEYS_DIR names")
    refill = verbs.add_parser("refill", help="publish a record again into a stream that was lost or replaced")
    refill.add_argument("service", choices=(*SERVICES, ALL), help="whose stream")
    refill.add_argument(
        "--new-incarnation",
        action="store_true",
        help="begin a new log: only for a record that was restored to an earlier time than the stream",
    )
    arguments = parser.parse_args()
    logging.configure("elsewhere", level="warning")
    match arguments.verb:
        case "nats-accounts":
            if made := _nats_accounts(arguments.folder, arguments.file):
                sys.stderr.write(
                    f"nats: new seeds were made for {', '.join(made)}. Whoever has an older one of theirs is refused "
                    "once the server has read the accounts anew\n"
                )
            sys.stdout.write(f"nats: {arguments.file} has the accounts of the seeds in {arguments.folder}\n")
            return 0
        case "keys":
            return await _keys(arguments.folder)
        case "refill":
            services = SERVICES if arguments.service == ALL else (arguments.service,)
            return await _refill(services, new_incarnation=arguments.new_incarnation)
    return await _servers(arguments.accept_loss)


def _nats_accounts(folder: Path, file: Path) -> list[str]:
    """Write the accounts with the public keys of the identities; whose seeds were made, since there were none.

    Raises INVALID_FIELD, and KEYS_UNUSABLE where a seed is not what it should be, or where all are others than have
    accounts: by them nobody could sign in any more.
    """
    before = _accounts_in(file)
    _require_folder(folder.parent, "FOLDER")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise PlatformError(errors.INVALID_FIELD, f"{folder} is no folder", field="FOLDER", hint="Name another one.")
    paths = {identity.name: folder / f"{identity.name}.seed" for identity in identities()}
    public = {name: _public(path) for name, path in paths.items() if path.exists()}
    for name, key in public.items():
        others = [each for each in public if public[each] == key and each != name]
        if others:
            raise PlatformError(
                errors.KEYS_UNUSABLE,
                f"{paths[name]} and {paths[others[0]]} hold one seed, of which one identity alone could sign in",
                hint="Put the copy of the wrong one back. To give that identity a new seed move its file away.",
            )
    if before and before.isdisjoint(public.values()):
        raise PlatformError(
            errors.KEYS_UNUSABLE,
            f"{file} has accounts, and {folder} has none of their seeds",
            hint=f"Mount the folder, or put its copy back. To begin with new seeds move {file} away.",
        )
    made = [name for name in paths if name not in public]
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in made:
        write_once(paths[name], generate_keys().seed)
        public[name] = _public(paths[name])
    write_atomically(file, render_accounts({public[each.name]: each for each in identities()}), mode=0o644)
    return made


def _accounts_in(file: Path) -> set[str]:
    """The public keys that a file has accounts of; none where it is not there or empty. Raises INVALID_FIELD."""
    _require_folder(file.parent, "FILE")
    try:
        text = read_regular(file).decode("utf-8", "replace")
    except FileNotFoundError:
        return set()
    except OSError as error:
        message = f"{file} cannot be read as the accounts: {misread(error)}"
        raise PlatformError(errors.INVALID_FIELD, message, field="FILE", hint="Name another file.") from error
    if text.strip() and not text.startswith(ACCOUNTS_HEAD):
        raise PlatformError(
            errors.INVALID_FIELD,
            f"{file} holds something else than accounts, which would be lost",
            field="FILE",
            hint="Name another file, or move this one away.",
        )
    return set(_PUBLIC_KEY.findall(text))


def _require_folder(folder: Path, field: str) -> None:
    """Raise INVALID_FIELD where the folder above what is to be made is not there: a disk that is not mounted."""
    if not folder.is_dir():
        raise PlatformError(
            errors.INVALID_FIELD,
            f"{folder} is not there, or is no folder",
            field=field,
            hint="Make it, or mount its disk; then try again.",
        )


def _public(path: Path) -> str:
    """The public key of a seed. Raises KEYS_UNUSABLE."""
    try:
        return public_key(read_regular(path))
    except (OSError, ValueError) as error:
        what = f"cannot be read: {misread(error)}" if isinstance(error, OSError) else "holds no nkey seed"
        raise PlatformError(
            errors.KEYS_UNUSABLE,
            f"{path} {what}",
            hint="Put its copy back. To give the identity a new seed move the file away, and have the server read the "
            "accounts anew that are written then.",
        ) from error


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


async def _keys(folder: Path) -> int:
    """Prepare the folder, or recognise it. Raises KEYS_UNUSABLE where there were keys before, and it has none."""
    dsn = load(RecordSettings, os.environ).postgres_admin_dsn
    parsed(dsn, ADMIN_DSN)
    if is_prepared_keys_folder(folder):
        if read_regular(folder / MARK) != MARK_TEXT:
            raise PlatformError(
                errors.KEYS_UNUSABLE,
                f"{folder / MARK} is not what was written there",
                hint="Put the copy of the folder back: what else of it is damaged nobody has looked at.",
            )
    else:
        await check_trust(dsn, ADMIN_DSN)
        if await has_published(dsn, [schema.service for schema in SCHEMAS]):
            raise PlatformError(
                errors.KEYS_UNUSABLE,
                f"the record knows of what was sealed before, and {folder} has no keys",
                hint="Mount the folder, or put its copy back: new keys would open nothing of what is there.",
            )
        _require_empty(folder)
        prepare_keys_folder(folder)
    sys.stdout.write(f"keys: {folder} is prepared\n")
    return 0


def _require_empty(folder: Path) -> None:
    """Raise INVALID_FIELD where this cannot become a folder of keys alone: its disk is not there, or others use it."""
    fault, hint = "", "Make it, or mount its disk; then try again."
    if not folder.parent.is_dir():
        fault = f"{folder.parent} is not there, or is no folder"
    elif folder.is_dir():
        fault, hint = f"{folder} holds other files", "Name a folder that is empty, or none."
        fault = fault if any(folder.iterdir()) else ""
    elif folder.exists() or folder.is_symlink():
        fault, hint = f"{folder} is no folder", "Name a folder that is empty, or none."
    if fault:
        raise PlatformError(errors.INVALID_FIELD, fault, field="FOLDER", hint=hint)


def _connection(settings: ElsewhereSettings) -> Connection:
    return Connection(
        url=settings.nats_url,
        identity=TOPOLOGY,
        telemetry=Telemetry(TOPOLOGY),
        health=Health(TOPOLOGY),
        seed_file=settings.nats_seed_file,
        ca_file=settings.nats_ca_file,
    )


def _refuse_identity(connection: Connection, error: PlatformError) -> None:
    """Raise INVALID_SETTING where what failed was denied to the identity: no time helps."""
    if connection.denied is not None:
        raise PlatformError(
            errors.INVALID_SETTING,
            "nats does not let the identity of WEDSYNC_NATS_SEED_FILE make streams and consumers",
            field="WEDSYNC_NATS_SEED_FILE",
            hint=f"Name the seed of the identity `{TOPOLOGY}`, and give the server the accounts of this build "
            "(`python3 -m deploy.elsewhere nats-accounts FOLDER FILE`).",
        ) from error


def _anew(service: str) -> str:
    return f"python3 -m deploy.elsewhere refill {service} --new-incarnation"


async def _refill(services: Sequence[str], *, new_incarnation: bool) -> int:
    """Permit it, tell who follows the streams, and wait for the relays."""
    settings = load(RefillSettings, os.environ)
    dsn, connection = settings.postgres_admin_dsn, _connection(settings)
    parsed(dsn, ADMIN_DSN)
    connection.require_settings()
    await check_trust(dsn, ADMIN_DSN)
    if settings.keys_dir is not None:
        require_folder("keys_dir", settings.keys_dir)
    try:
        await connection.start()
        js = connection.client.jetstream()
        used = partial(has_published, dsn, [schema.service for schema in SCHEMAS])
        await apply(js, replicas=settings.nats_replicas, was_used=used)
        views = {service: await stream_view(js, stream_of(service)) for service in services}
    except PlatformError as error:
        _refuse_identity(connection, error)
        raise
    finally:
        await connection.stop()
    if not new_incarnation:
        try:
            await require_possible(dsn, views, settings.keys_dir, _anew)
        except PlatformError as error:
            if error.code is errors.UNAVAILABLE:
                raise
            # Each service with its command, whole: a line of a log has no room for them.
            sys.stderr.write(f"{error.message} [{error.code.code}]\n{error.hint}\n")
            return _REFUSED
    given = {service: await request_refill(dsn, service, new_incarnation=new_incarnation) for service in services}
    for service, permission in given.items():
        await announce(dsn, service, permission, new_incarnation=new_incarnation)
        sys.stdout.write(f"{service}: permitted to publish its record again\n")
    until = time.monotonic() + _REFILL_SECONDS
    waiting = dict(given)
    while waiting and time.monotonic() < until:
        for service, permission in list(waiting.items()):
            filled = await refilled(dsn, service, permission)
            if filled is not None and filled >= permission.last:
                sys.stdout.write(f"{service}: its stream holds the record\n")
                del waiting[service]
        await asyncio.sleep(_POLL_SECONDS)
    for service in waiting:
        sys.stdout.write(f"{service}: not yet: its relay goes on by itself once its process is there\n")
    sys.stdout.write("That read models and audit log have caught up, the processes' /health/ready say.\n")
    return _DEGRADED if waiting else 0


async def _servers(accepted_loss: str | None) -> int:
    settings = load(ElsewhereSettings, os.environ)
    connection = _connection(settings)
    parsed(settings.postgres_admin_dsn, ADMIN_DSN)
    connection.require_settings()
    await check_trust(settings.postgres_admin_dsn, ADMIN_DSN)
    try:
        await connection.start()
        for schema in SCHEMAS:
            await asyncio.to_thread(
                install_schema,
                settings.postgres_admin_dsn,
                service=schema.service,
                role=schema.role,
                password=None,
                statements=schema.statements(),
                readers=schema.readers(),
            )
            sys.stdout.write(f"postgres: the schema {schema.service} for the role {schema.role}\n")
        js = connection.client.jetstream()
        changes = await apply(
            js,
            replicas=settings.nats_replicas,
            was_used=lambda: has_published(settings.postgres_admin_dsn, [schema.service for schema in SCHEMAS]),
        )
        if accepted_loss:
            await accept_loss(js, reason=accepted_loss, time=SystemClock().now())
        loss = loss_of(await letters_info(js))
    except PlatformError as error:
        _refuse_identity(connection, error)
        raise
    finally:
        await connection.stop()
    sys.stdout.write(f"nats: streams and consumers as declared, {len(changes)} changed\n")
    if loss is not None:
        sys.stdout.write(f"nats: {loss.message} [{loss.code.code}]\n  Is that known: --accept-loss REASON\n")
        return _DEGRADED
    return 0


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
