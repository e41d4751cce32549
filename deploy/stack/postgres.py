"""The embedded Postgres: the cluster is made at the first start, by an account that is not root.

Postgres refuses to run as root, and that account usually cannot pass the folders above the home. Nothing
is opened for it: the data folder is handed to it as an open descriptor, and only the programs, which
hold no secret, are copied where they lie below a closed folder (`deploy.stack.programs`).
"""

import asyncio
import os
import shutil
import signal

from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.settings import ADMIN_ROLE, DATABASE, SETTINGS
from deploy.stack.account import Account
from deploy.stack.child import OPEN_FOLDER, OPEN_SECRET, Child, Launch
from deploy.stack.layout import Layout
from deploy.stack.logs import end_of, last_words
from deploy.stack.part import SERVER_STOP_SECONDS, Part, Step
from deploy.stack.ports import LOOPBACK
from deploy.stack.postgres_lock import remove_stale_lock
from deploy.stack.probes import Grade, Probe, Trouble
from deploy.stack.programs import PostgresPrograms
from deploy.stack.secrets import Secrets
from deploy.stack.space import with_room
from deploy.stack.stores import OPEN_SECONDS, Store

CLUSTER = "postgres-cluster"
NAME = "postgres"

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
_INITDB_SECONDS = 120.0


def postgres_units(
    layout: Layout, secrets: Secrets, account: Account | None, programs: PostgresPrograms
) -> tuple[Step, Part]:
    """The step that makes the cluster, and the server. `programs`: of that account."""
    store = postgres_store(layout)

    async def make_cluster() -> None:
        if not store.is_known and not await store.disk.ask(layout.postgres_data.exists, seconds=OPEN_SECONDS):
            await _make_cluster(layout, secrets, account, await asyncio.to_thread(programs.initdb))
        await store.open()
        await store.disk.ask(lambda: remove_stale_lock(layout.postgres_data), seconds=OPEN_SECONDS)
        await store.keep()

    def launch() -> Launch:
        settings = {**SETTINGS, "port": str(layout.port(NAME))}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            argv=(str(programs.folder() / "postgres"), "-D", OPEN_FOLDER, *options),
            environment=_ENVIRONMENT,
            folder=layout.postgres_data,
            log=layout.log(NAME),
            account=account,
            open_folder=layout.postgres_data,
            # Fast shutdown: clients are cut off, nothing has to be recovered at the next start.
            death_signal=signal.SIGINT,
        )

    return (
        Step(name=CLUSTER, run=make_cluster),
        Part(
            name=NAME,
            open=store.open,
            launch=launch,
            probe=with_room(postgres_ready(admin_dsn(layout, secrets, database="postgres"), store), store.disk),
            log=layout.log(NAME),
            needs=(CLUSTER,),
            ports={"sql": layout.port(NAME)},
            stop_signal=signal.SIGINT,
            stop_seconds=SERVER_STOP_SECONDS,
            # Its processes end at once, with nothing lost: a kill of the first alone leaves the others.
            kill_signal=signal.SIGQUIT,
        ),
    )


def postgres_store(layout: Layout) -> Store:
    """Where the cluster lies."""
    return Store(layout, layout.postgres_data, inside=("base", "global", "pg_wal"))


def admin_dsn(layout: Layout, secrets: Secrets, database: str = DATABASE) -> str:
    """The administrator's connection string. It holds a password: not for logs."""
    return dsn(layout, role=ADMIN_ROLE, password=secrets.postgres_admin, database=database)


def dsn(layout: Layout, *, role: str, password: str, database: str = DATABASE) -> str:
    """A role's connection string. It holds a password: not for logs."""
    return f"postgresql://{role}:{password}@{LOOPBACK}:{layout.port(NAME)}/{database}"


async def _make_cluster(layout: Layout, secrets: Secrets, account: Account | None, initdb: tuple[str, ...]) -> None:
    """Run initdb beside the final place and move the result there: a crash in between leaves no half cluster."""
    draft = layout.postgres_data.with_name("postgres.new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
    log = layout.log(CLUSTER)
    since = end_of(log)
    child = Child.start(
        Launch(
            argv=(
                *initdb, "-D", OPEN_FOLDER, "-U", ADMIN_ROLE, f"--pwfile={OPEN_SECRET}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
                "--data-checksums",
            ),
            environment=_ENVIRONMENT,
            folder=draft,
            log=log,
            account=account,
            open_folder=draft,
            secret=f"{secrets.postgres_admin}\n".encode(),
        )
    )  # fmt: skip
    try:
        async with asyncio.timeout(_INITDB_SECONDS):
            code = await child.wait()
    except TimeoutError:
        raise PlatformError(
            errors.STACK_FAILED, f"initdb has not ended after {_INITDB_SECONDS:.0f} s (log: {log})", part=CLUSTER
        ) from None
    finally:
        child.kill()
    if code != 0:
        raise PlatformError(
            errors.STACK_FAILED,
            f"the cluster cannot be made: initdb ended with exit code {code}{last_words(log, since=since)}",
            part=CLUSTER,
            log=str(log),
        )
    Store.mark(draft)
    draft.rename(layout.postgres_data)


def postgres_ready(dsn: str, store: Store) -> Probe:
    """Ready when the store is in its place and a query of a new connection is answered."""

    async def probe() -> Trouble | None:
        import psycopg

        lost = await store.trouble()
        if lost is not None:
            return lost
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute("SELECT count(*) FROM pg_database")
        except psycopg.Error as error:
            return _trouble_of(str(error))
        return None

    return probe


def _trouble_of(message: str) -> Trouble:
    """What a failed connection means; the server's own words come behind a FATAL."""
    _, is_answer, words = message.partition("FATAL:")
    if not is_answer:
        return Trouble(f"does not answer: {message.strip().splitlines()[-1]}", restart_helps=True)
    said = words.strip().splitlines()[0]
    if "password authentication failed" in said:
        return Trouble(
            f"{said}: keys/secrets.json and the cluster do not belong together. Restore the one that was replaced",
            Grade.NEEDS_OPERATOR,
        )
    return Trouble(said)
