"""The recovery kit: a folder outside of the home that, with one tier, brings the platform back.

| file | content |
|---|---|
| `kit.json` | of which home it is, since when, the tiers and their addresses; written last |
| `platform.key` | the key file of the platform's own backup: it opens all keys of the platform |
| `credentials/<tier>.json` | what a tier elsewhere wants to be shown |
| `README.txt` | what to do with it, for whoever finds it |

It is a secret as a whole: 0700 and 0600. A kit is replaced only by one of the same home.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from chassis.key_files import read_regular
from deploy.misread import misread
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.own_backup.memory import Memory, WrittenKit, changed
from deploy.stack.own_backup.places import Place, places_of
from repository.errors import KeyFileInvalid, KitInvalid, KitNotMade
from repository.keys.key_file import KeyFile

KIT, KEY, README, CREDENTIALS = "kit.json", "platform.key", "README.txt", "credentials"
VERSION = 1


class KitTier(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tier that has the platform's own backup. `credentials`: their file in the kit."""

    name: str
    url: str
    credentials: str | None = None


class Kit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What kit.json says. `home`: where the platform was; it may come back elsewhere."""

    version: int
    instance: str
    home: str
    written: datetime
    key: str
    tiers: list[KitTier]


_KIT = msgspec.json.Decoder(Kit)


def usual_folder(layout: Layout) -> Path:
    """Where the first kit is written: beside the home, until somebody takes it to where it is safe."""
    return layout.home.with_name(f"{layout.home.name}-kit")


def key_path(layout: Layout) -> Path:
    """The key file of the platform's own backup."""
    return layout.keys / "self-backup.key"


def own_key(layout: Layout, memory: Memory) -> KeyFile:
    """The key, made where none was ever used, and noted in `memory`. Raises `KeyFileInvalid` where it is gone."""
    path = key_path(layout)
    if memory.key is None and not path.exists():
        KeyFile.create(path)
    try:
        key = KeyFile.load(path)
    except KeyFileInvalid as error:
        error.hint = f"Put it back from the recovery kit: its file {KEY}, mode 0600."
        raise
    memory.key = key.kek_id().hex()
    return key


def write_kit(layout: Layout, folder: Path, now: datetime, *, tiers: Sequence[str] = ()) -> None:
    """Write a kit, and remember it. `tiers`: where the platform is saved from now on; none: as before.

    Raises `KitNotMade`, where the folder is somebody else's or in the home, too, and UNKNOWN_LOCATION.
    """
    if folder == layout.home or layout.home in folder.parents:
        raise KitNotMade("a kit in the home is lost with it", hint="Give a folder outside of it.", folder=str(folder))
    with changed(layout) as memory:
        memory.tiers = list(tiers) or memory.tiers
        places = places_of(layout, memory)
        kit = _kit_of(layout, places, own_key(layout, memory), now)
        try:
            _write(layout, kit, places, folder)
        except OSError as error:
            hint = "Give another folder: wedsync-backup self-backup kit --out DIR."
            reason = error.strerror or str(error)
            raise KitNotMade("the kit cannot be written", hint=hint, reason=reason, folder=str(folder)) from error
        memory.kit = WrittenKit(folder=str(folder), written=now, digest=_digest(kit, places, layout))
        memory.trouble = None if memory.whole_at is None else memory.trouble


def _write(layout: Layout, kit: Kit, places: Sequence[Place], folder: Path) -> None:
    _refuse_foreign(folder, layout.remembered.instance)
    (folder / CREDENTIALS).mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for place in places:
        if place.credentials is not None:
            write_atomically(folder / CREDENTIALS / f"{place.name}.json", read_regular(place.credentials))
    write_atomically(folder / KEY, read_regular(key_path(layout)))
    write_atomically(folder / README, _readme(kit))
    write_atomically(folder / KIT, msgspec.json.format(msgspec.json.encode(kit), indent=2))


def is_current(layout: Layout, memory: Memory) -> bool:
    """Whether the kit that was written last says what one would say that is written now. Raises OSError, and others."""
    if memory.kit is None:
        return False
    places = places_of(layout, memory)
    kit = _kit_of(layout, places, KeyFile.load(key_path(layout)), memory.kit.written)
    return memory.kit.digest == _digest(kit, places, layout)


def read_kit(folder: Path) -> Kit:
    """What a kit says. Raises `KitInvalid`."""
    try:
        kit = _KIT.decode(read_regular(folder / KIT))
    except FileNotFoundError:
        hint = "Give the folder that `wedsync-backup up` or `self-backup kit` has written."
        raise KitInvalid("the folder holds no recovery kit", hint=hint, folder=str(folder)) from None
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        hint = "Take another copy of the kit."
        raise KitInvalid(f"{KIT} cannot be read: {misread(error)}", hint=hint, folder=str(folder)) from error
    if kit.version != VERSION:
        raise KitInvalid(f"the kit is of version {kit.version}, this build knows version {VERSION}")
    return kit


def place_in(kit: Kit, folder: Path, tier: str, credentials: Path | None = None) -> Place:
    """A tier that the kit names, or the address of a copy of one. Raises `KitInvalid` where it names none."""
    if "://" in tier:
        return Place("given", tier, credentials)
    known = {each.name: each for each in kit.tiers}
    if tier not in known:
        hint = f"It names: {', '.join(known) or 'none'}. Or give an address: file:///PATH, s3://BUCKET/PREFIX?…"
        raise KitInvalid(f"the kit names no tier {tier}", hint=hint)
    found = known[tier]
    own = folder / CREDENTIALS / found.credentials if found.credentials else None
    return Place(found.name, found.url, credentials or own)


def _kit_of(layout: Layout, places: Sequence[Place], key: KeyFile, now: datetime) -> Kit:
    tiers = [
        KitTier(name=each.name, url=each.url, credentials=f"{each.name}.json" if each.credentials else None)
        for each in places
    ]
    return Kit(
        version=VERSION,
        instance=layout.remembered.instance,
        home=str(layout.home),
        written=now,
        key=key.kek_id().hex(),
        tiers=tiers,
    )


def _digest(kit: Kit, places: Sequence[Place], layout: Layout) -> str:
    """Of all that has to be the same as when it was written; when that was is not part of it."""
    parts = [repr(kit.tiers).encode(), read_regular(key_path(layout))]
    parts += [read_regular(each.credentials) for each in places if each.credentials is not None]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _refuse_foreign(folder: Path, instance: str) -> None:
    """Raise `KitNotMade` unless the folder is new, empty, or holds an older kit of this home."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    hint = "Give a folder of its own: wedsync-backup self-backup kit --out DIR."
    try:
        other = read_kit(folder).instance
    except KitInvalid:
        if {each.name for each in folder.iterdir()} <= {KEY, README, CREDENTIALS}:
            return  # One that was not written to its end.
        raise KitNotMade("the folder holds other files", hint=hint, folder=str(folder)) from None
    if other != instance:
        raise KitNotMade("the folder holds the kit of another platform", hint=hint, folder=str(folder))


def _readme(kit: Kit) -> str:
    tiers = "\n".join(f"  {each.name}  {each.url}" for each in kit.tiers)
    return f"""WedSync Backup: the recovery kit of a platform, written {kit.written:%Y-%m-%d %H:%M} UTC.

Whoever has this folder and can read one of the tiers below reads all that the platform keeps: hold it as you hold
its keys, apart from the tiers and from the machine. Two copies in two places.

When the machine, its database or its keys are gone (docs/disaster-recovery.md, "The day when all is gone"):

  wedsync-backup rebuild --kit THIS-FOLDER --tier TIER --home NEW-FOLDER

TIER is one of these, or the address of where a copy of it lies now:
{tiers}
"""
