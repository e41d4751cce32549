"""The one folder that holds a platform: where everything lies, and what is remembered from one start to the next.

| path | content |
|---|---|
| `layout.json` | version, instance, the organisation of dev tokens, ports, what was begun |
| `keys/` | all secrets; apart from the data, to be kept apart in a backup as well |
| `keys/secrets.json` | passwords of the Postgres roles, credentials of the S3 servers |
| `keys/identity.pem` | private key of the embedded identity provider |
| `keys/nats/*.seed` | nkey seeds, one per identity |
| `keys/platform/` | what the services read: `credentials/` of the tiers; the sealing and repository keys they make |
| `config/` | nats.conf, jwks.json, S3 identities: written anew at each start; locations.json keeps what was added |
| `config/prometheus-targets.json` | where Prometheus finds the processes' figures, written anew at each start |
| `config/organisations.json` | the organisations that the operator has added, with the names that people use |
| `config/subscribers.json` | other services that subscribe to events, registered by the operator |
| `data/` | `postgres/`, `nats/`, `s3/<region>/`, `tiers/local/` |
| `logs/` | one file per part, rotated by size |
| `run/` | `stack.json` (what runs), `lock` (held while it runs), `stop.json` (since when it is asked to stop) |

All of it is 0700 and 0600: the home's owner alone.
"""

import contextlib
import os
import shlex
import stat
from collections.abc import Collection
from pathlib import Path

import msgspec

from chassis.auditlog.files import ANEW
from chassis.ids import new_id
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.begun import (
    AUDIT_KEY,
    CLUSTER,
    LAYOUT,
    STORES,
    begun_in,
    begun_unnoted,
    is_trace,
    keys_missing,
    require_whole,
)
from deploy.stack.files import require_room, takes_nothing, write_atomically, write_once
from deploy.stack.state import is_running

VERSION = 1


class Remembered(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What layout.json holds. `organisation`: the one that dev tokens are for where no other is named.
    `begun`: the keys and the data that were made here, as paths below the home; see `deploy.stack.begun`.
    `stores`: the marks of the data folders that hold something (`deploy.stack.stores`). `notes_stores`: what is in
    neither was never begun; a home of an older build does not say so before it is opened by this one.

    The demo has an organisation of its own: it deletes a whole tier of it.
    """

    version: int
    instance: str
    organisation: str
    demo_organisation: str
    ports: dict[str, int]
    begun: list[str] = []
    stores: dict[str, str] = {}
    notes_stores: bool = False


_REMEMBERED = msgspec.json.Decoder(Remembered)


class Layout:
    """The paths of one home, and what it remembers. `Layout.create` makes it, `Layout.find` only looks."""

    def __init__(self, home: Path, remembered: Remembered) -> None:
        self.home = home
        self.remembered = remembered
        self.keys = home / "keys"
        self.config = home / "config"
        self.data = home / "data"
        self.logs = home / "logs"
        self.run = home / "run"

        self.secrets_file = self.keys / "secrets.json"
        self.identity_key = self.keys / "identity.pem"
        self.nats_seeds = self.keys / "nats"
        self.platform_keys = self.keys / "platform"
        self.credentials = self.platform_keys / "credentials"

        self.nats_conf = self.config / "nats.conf"
        self.locations_file = self.config / "locations.json"
        self.subscribers_file = self.config / "subscribers.json"
        self.jwks_file = self.config / "jwks.json"
        self.targets_file = self.config / "prometheus-targets.json"

        self.postgres_data = self.data / "postgres"
        self.nats_data = self.data / "nats"
        self.local_tier = self.data / "tiers" / "local"
        self.demo = home / "demo"

        self.state_file = self.run / "stack.json"
        self.stop_file = self.run / "stop.json"
        self.lock_file = self.run / "lock"

    @classmethod
    def create(cls, home: Path, *, begin_anew: Collection[str] = ()) -> "Layout":
        """Open a home, and make it where there is none. `begin_anew`: data that is gone, and may be made again.

        Raises HOME_UNUSABLE, KEYS_UNUSABLE where keys are gone that were made before, and OSError where its disk is
        full: nothing is made or changed then.
        """
        home = home.absolute()
        _require_writable_name(home)
        is_new = not home.exists()
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            _require_owner(home)
            remembered = _read(home)
            if remembered is None:
                is_lost = LAYOUT in begin_anew and is_trace(home)
                if not is_lost:
                    _require_empty(home)
                remembered = Remembered(
                    version=VERSION,
                    instance=new_id(),
                    organisation=new_id(),
                    demo_organisation=new_id(),
                    ports={},
                    # What is missing of a home that has lost its memory is told: its disk may not be mounted.
                    begun=[CLUSTER, *STORES] if is_lost else [],
                    notes_stores=True,
                )
            require_room(home)
            layout = cls(home, remembered)
            if begin_anew and is_running(layout.lock_file):
                raise PlatformError(errors.STACK_RUNNING, f"the platform in {home} runs: it is not begun anew below it")
            is_noted = remembered.notes_stores and bool(remembered.begun)
            if not remembered.notes_stores:
                remembered.begun = sorted(begun_unnoted(home).union(remembered.begun))
                remembered.notes_stores = True
            require_whole(home, remembered.begun, begin_anew)
            if not is_noted or begin_anew:
                remembered.begun = [name for name in remembered.begun if name not in begin_anew]
                remembered.stores = {name: mark for name, mark in remembered.stores.items() if name not in begin_anew}
                layout.remember()
            layout._make_folders()
            if AUDIT_KEY in begin_anew:
                (layout.platform_keys / ANEW).touch(mode=0o600)
        except OSError as error:
            if takes_nothing(error):
                if is_new:
                    with contextlib.suppress(OSError):
                        home.rmdir()
                raise
            where = error.filename or home
            raise PlatformError(
                errors.HOME_UNUSABLE, f"{where} cannot be used: {error.strerror or error}", home=str(home)
            ) from error
        return layout

    @classmethod
    def find(cls, home: Path) -> "Layout":
        """Open a home that is there. Raises HOME_NOT_FOUND where none is, HOME_UNUSABLE where it cannot be read."""
        home = home.absolute()
        try:
            remembered = _read(home)
        except OSError as error:
            raise PlatformError(
                errors.HOME_UNUSABLE, f"{home} cannot be read: {error.strerror or error}", home=str(home)
            ) from error
        if remembered is None:
            _require_no_trace(home)
            raise _no_home(home)
        return cls(home, remembered)

    def require_changeable(self) -> None:
        """Raise HOME_UNUSABLE unless this process is the home's owner, OSError where its disk takes nothing more.

        Asked before a change that is made of several files, so that it is not met half-way.
        """
        _require_owner(self.home)
        for folder in (self.config, self.platform_keys):
            if folder.is_dir():
                require_room(folder)

    def _make_folders(self) -> None:
        """Everything is the owner's alone. The database's folder may be another account's: it is handed over open."""
        secret = (self.keys, self.nats_seeds, self.platform_keys, self.credentials)
        for folder in (*secret, self.config, self.logs, self.run, self.data):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if stat.S_IMODE(folder.stat().st_mode) != 0o700:
                folder.chmod(0o700)
        for folder in (self.nats_data, self.data / "s3", self.local_tier.parent):
            folder.mkdir(exist_ok=True, mode=0o700)

    def begun_now(self) -> set[str]:
        """What is there by now, and is not remembered yet. Raises OSError: DiskSilent, too."""
        return begun_in(self.home, known=self.remembered.begun).difference(self.remembered.begun)

    def note_begun(self, found: Collection[str] | None = None) -> None:
        """Remember which keys, lists and data are there (`begun_now`): from here on none of them is made again."""
        new = self.begun_now() if found is None else found
        if new:
            self.remembered.begun = sorted({*self.remembered.begun, *new})
            self.remember()

    def require_list(self, path: Path) -> None:
        """Raise HOME_UNUSABLE where a list that an operator has made is gone."""
        name = str(path.relative_to(self.home))
        if name in self.remembered.begun and not path.exists():
            raise PlatformError(
                errors.HOME_UNUSABLE,
                f"{path} is gone, with all that was registered",
                hint=f"Put its copy back. Without one: wedsync-backup down, then wedsync-backup up --begin-anew {name};"
                " what you added is to be added again.",
            )

    def make_key(self, path: Path, content: bytes | str) -> None:
        """Write a key that is not there. Raises KEYS_UNUSABLE where it was made before, and is gone."""
        name = str(path.relative_to(self.home))
        if name in self.remembered.begun and not path.exists():
            raise keys_missing(self.home, [name])
        write_once(path, content)

    def remember(self) -> None:
        """Write layout.json, durably."""
        write_atomically(self.home / "layout.json", msgspec.json.format(msgspec.json.encode(self.remembered), indent=2))

    def port(self, name: str) -> int:
        """The port that a name has since the last start. Raises STACK_NOT_RUNNING where it never had one."""
        port = self.remembered.ports.get(name)
        if port is None:
            raise PlatformError(
                errors.STACK_NOT_RUNNING, f"{self.home} has no port for {name} yet: this build was never started there"
            )
        return port

    def log(self, part: str) -> Path:
        """Where a part's output goes."""
        return self.logs / f"{part}.log"

    def s3_data(self, region: str) -> Path:
        """The folder of one S3 server."""
        return self.data / "s3" / region

    @property
    def gateway_url(self) -> str:
        """Where the API is found."""
        return f"http://127.0.0.1:{self.port('gateway')}"


def _require_writable_name(home: Path) -> None:
    """The home's path stands in configurations and reports, which are UTF-8, and nothing else."""
    try:
        str(home).encode()
    except UnicodeEncodeError:
        shown = str(home).encode(errors="backslashreplace").decode()
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"the path {shown} is not UTF-8",
            home=shown,
            hint="Name a home with --home, or WEDSYNC_HOME, whose path is UTF-8: nothing was made.",
        ) from None


def _require_owner(home: Path) -> None:
    """What somebody else writes into a home, its owner could not read: root's files would be root's alone."""
    owner = home.stat().st_uid
    if owner != os.geteuid():
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"the home {home} is another user's (id {owner})",
            hint=f"Be that user: sudo -u '#{owner}' wedsync-backup …",
        )


def _no_home(home: Path) -> PlatformError:
    """What runs in the home that was meant, and whether anything does, is not known of another folder."""
    what, new = "none was ever started in it", "NEW-FOLDER"
    if not home.exists():
        what, new = "there is no such folder", shlex.quote(str(home))
    return PlatformError(
        errors.HOME_NOT_FOUND,
        f"{home} is no home of a platform: {what}",
        hint=f"Name the home that is meant with --home, or by WEDSYNC_HOME. A new one: wedsync-backup up --home {new}",
        home=str(home),
    )


def _require_no_trace(home: Path) -> None:
    """A home that has lost its layout.json is one all the same, and a platform may run in it."""
    if is_trace(home):
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{home} is a platform's home, and its layout.json is gone",
            hint="Put layout.json back from the copy of the keys, in which it is (docs/operations.md, section 13). "
            "Without one: wedsync-backup up --begin-anew layout.json, which goes on with what lies there; the home's "
            "own organisation is then a new one. Nothing was changed.",
            home=str(home),
        )


def _require_empty(home: Path) -> None:
    """A folder with somebody's files in it is a slip of the pen, not a home."""
    _require_no_trace(home)
    strangers = [entry.name for entry in home.iterdir() if not entry.name.startswith(".layout.json.")]
    if strangers:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{home} holds other files and is no home of a platform",
            hint="Name a new or an empty folder with --home.",
        )


def _read(home: Path) -> Remembered | None:
    try:
        text = (home / "layout.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        remembered = _REMEMBERED.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{home / 'layout.json'} cannot be understood: {misread(error)}",
            hint="Put layout.json back from the copy of the keys, in which it is. Without one: move the file aside, "
            "then wedsync-backup up --begin-anew layout.json.",
        ) from error
    if remembered.version != VERSION:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"the home is of version {remembered.version}, this build knows version {VERSION}",
            hint="Use the build that made the home, or a newer one.",
        )
    return remembered
