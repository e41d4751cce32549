"""Where tiers are, as far as two of them may be one, or a new one may lie among somebody's files.

Two tiers at one place are one copy that is counted as two.
"""

import os
import stat as stat_bits
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar
from urllib.parse import urlsplit

from repository.errors import LocationInvalid, PlaceInUse, RestoreRefused
from repository.tiers.folder.hands import Hands, Silent
from repository.tiers.location import directory_path, s3_options, scheme_of
from repository.tiers.port import ObjectStore
from repository.tiers.s3.options import S3Options

T = TypeVar("T")

_NOBODYS: Final = frozenset(
    (
        *("lost+found", "config", "keys", "pending", "log", "index", "packs"),
        *("snapshots", "checkpoints", "streams", "pins", "quarantine"),
    )
)
"""What a file system has of itself, and what a repository has, be it half of one: opening it says more of that."""
_KINDS: Final = {
    stat_bits.S_IFREG: "a file",
    stat_bits.S_IFLNK: "a link that leads to no folder",
    stat_bits.S_IFIFO: "a pipe",
    stat_bits.S_IFSOCK: "a socket",
}
_NO_FOLDER: Final = "something that is no folder"
_LOOKED_AT: Final = 1000
_CONFIG_BEGINS: Final = b'{"config":{"format":'
WITHIN_REPOSITORY: Final = (
    "Choose a place outside of it: who checks, repairs, prunes or loses that repository meets what lies in it, too."
)
_PORTS: Final = {"http": 80, "https": 443}


_PATIENCE_SECONDS: Final = 5.0
"""So long a disk is asked where a path leads. One that hangs is for whoever opens the tier to wait for, and tell."""


def _answered(ask: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """What a disk says, or what is to be taken where it does not answer."""
    hands = Hands("look", seconds=_PATIENCE_SECONDS)
    try:
        return hands.do(ask)
    except Silent:
        return otherwise()
    finally:
        hands.close()


def refuse_one_place_twice(tiers: Sequence[tuple[str, str]]) -> None:
    """Raise `LocationInvalid` where two of the tiers, each with its name and address, are at one place."""
    names: dict[object, str] = {}
    for name, address in tiers:
        first = names.setdefault(place_of(address), name)
        if first is not name:
            hint = (
                "What is there is kept once, however often it is named: give each place once. Does a link lead there,"
                f" or is another disk to be mounted at {name}: put its own folder there, or leave {name} out meanwhile."
            )
            message = "two tiers are one and the same place"
            raise LocationInvalid(message, hint=hint, tier=first, other=name)


def refuse_nested(tiers: Sequence[tuple[str, str]], new: str | None = None) -> None:
    """Raise `LocationInvalid` where one of the tiers, each with its name and address, lies within another one.

    `new`: the name of the one that is to be begun; None: each is.
    """
    for name, address in tiers:
        for other, outer in tiers:
            if name != other and new in (None, name, other) and _lies_within(address, outer):
                hint = "Whoever loses the outer one has lost both: choose a place of its own for each."
                raise LocationInvalid("a tier lies within another one", hint=hint, tier=name, other=other)


def refuse_key_within(key_file: str, addresses: Iterable[str]) -> None:
    """Raise `LocationInvalid` where a key file lies in a tier, beside what it opens."""
    for address in addresses:
        if urlsplit(address).scheme == "file" and _is_below(key_file, directory_path(address)):
            raise LocationInvalid(
                "the key file lies in a tier, beside what it opens",
                hint="Whoever gets the tier has its key, and who loses the tier has lost both: choose another folder.",
                key_file=key_file,
            )


def refuse_target_within(target: str, addresses: Iterable[str]) -> None:
    """Raise `RestoreRefused` where a restore's target is a tier's folder, or lies in one."""
    for address in addresses:
        if urlsplit(address).scheme == "file" and _is_below(os.path.join(target, "any"), directory_path(address)):
            raise RestoreRefused(
                "the target is a tier of the repository, or lies in one",
                hint="What is restored there would lie among what it is restored from, or over it.",
                target=target,
            )


def one_place_twice(first: str, second: str) -> LocationInvalid:
    """The refusal of two tiers that have one log: one place by two addresses that do not show it, or a copy."""
    hint = (
        "What is there is kept once, however often it is named: give each place once. Is another disk mounted at"
        f" {second}: mount its own, or leave {second} out meanwhile. A copy that is to be a tier of its own becomes one"
        f" by `repo repair --accept-history {second}`."
    )
    return LocationInvalid("two tiers are one and the same place", hint=hint, tier=first, other=second)


def refuse_among_others(store: ObjectStore, address: str) -> None:
    """Raise `PlaceInUse` where something lies at the place of a new tier that is not of a repository."""
    if urlsplit(address).scheme == "file":
        try:
            found = _answered(lambda: os.listdir(directory_path(address)), list[str])
        except OSError:
            return  # it is not there, or opening the tier says what is wrong with it
    else:
        found = [info.key.partition("/")[0] for info in islice(store.list(""), _LOOKED_AT)]
    others = strangers_of(found)
    if not others and "config" not in found:
        others = list(islice(_unlisted(store), 1))
    if others and "config" not in found:
        raise PlaceInUse("there are other files at the place of the tier", tier=store.name, entries=len(others))


def _unlisted(store: ObjectStore) -> Iterator[str]:
    """Strangers in a bucket that the list of its objects lacks: they have other names, or come behind many."""
    from repository.tiers.s3.reading import S3Reading

    if isinstance(store, S3Reading):
        for each in store.names_below():
            name = each.removesuffix("/")
            # A server may go on showing a folder whose objects were deleted.
            if strangers_of([name]) and (name == each or store.holds(each)):
                yield name


def strangers_of(names: Iterable[str]) -> list[str]:
    """Of what lies at a place, what neither a file system nor a repository has of itself."""
    return [name for name in names if name not in _NOBODYS and not name.startswith(".tmp-")]


def in_the_way(address: str) -> str | None:
    """What lies where a tier's folder belongs and is none, in words. None: a folder, nothing, or no folder's address.

    Also where the disk does not answer: that is for whoever opens the tier to tell.
    """
    if urlsplit(address).scheme != "file":
        return None
    folder = directory_path(address)

    def look() -> str | None:
        try:
            return None if os.path.isdir(folder) else _KINDS.get(stat_bits.S_IFMT(os.lstat(folder).st_mode), _NO_FOLDER)
        except OSError:
            return None

    return _answered(look, lambda: None)


def refuse_within_repository(name: str, address: str) -> None:
    """Raise `PlaceInUse` where a tier would lie within a repository, whosever that is; at its very place it may.

    Of a folder alone: of a bucket nobody but its owner may look above a prefix.
    """
    if urlsplit(address).scheme == "file" and _answered(
        lambda: lies_in_repository(os.path.dirname(_real_of(address))), lambda: False
    ):
        raise PlaceInUse("the place lies within a repository", hint=WITHIN_REPOSITORY, tier=name)


def lies_in_repository(folder: str) -> bool:
    """Whether a folder is a repository's, or lies in one, by whatever links. Raises OSError where it cannot be told."""
    path = os.path.realpath(folder)
    while not _is_repository(path):
        if path == (path := os.path.dirname(path)):
            return False
    return True


def _is_repository(folder: str) -> bool:
    """By its config, or, where that is damaged, by what lies around it."""
    try:
        with open(os.path.join(folder, "config"), "rb") as config:
            beginning = config.read(len(_CONFIG_BEGINS))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return False  # Of whoever may not look the store itself says so.
    around = (os.path.join(folder, name) for name in ("keys", "log", "packs"))
    return beginning == _CONFIG_BEGINS or all(map(os.path.isdir, around))


def _real_of(address: str) -> str:
    return os.path.realpath(directory_path(address))


def place_of(address: str) -> tuple[object, ...]:
    """Where a tier is, in one spelling; of a bucket the prefix comes last. Raises `LocationInvalid`."""
    if scheme_of(address) == "file":
        path = directory_path(address)
        return _answered(lambda: _folder(path), lambda: (os.path.abspath(path),))
    options, _ = s3_options(address)
    return (*_server(options), options.bucket, options.prefix)


def lie_nested(source: S3Options, tier: str) -> bool:
    """Whether a part of a bucket holds a tier, or lies in it. `tier`: its address; where none can be, none is."""
    if urlsplit(tier).scheme == "file":
        return False
    try:
        *bucket, prefix = place_of(tier)
    except LocationInvalid:
        return False
    is_one_bucket = bucket == [*_server(source), source.bucket]
    return is_one_bucket and (source.prefix.startswith(str(prefix)) or str(prefix).startswith(source.prefix))


def _lies_within(address: str, outer: str) -> bool:
    if urlsplit(address).scheme == "file":
        return urlsplit(outer).scheme == "file" and _is_below(directory_path(address), directory_path(outer))
    if urlsplit(outer).scheme == "file":
        return False
    (*bucket, prefix), (*others, above) = place_of(address), place_of(outer)
    return bucket == others and prefix != above and str(prefix).startswith(str(above))


def _is_below(path: str, folder: str) -> bool:
    """Whether a path leads below a folder, be it there or not, by whatever links; by its name, where a disk hangs."""
    inside = os.path.join(os.path.abspath(folder), "")
    return _answered(lambda: _leads_below(path, folder), lambda: os.path.abspath(path).startswith(inside))


def _leads_below(path: str, folder: str) -> bool:
    above, outer = os.path.dirname(os.path.realpath(path)), _folder(folder)
    while _folder(above) != outer:
        if above == (above := os.path.dirname(above)):
            return False
    return True


def _folder(path: str) -> tuple[object, ...]:
    """The folder by what it is, not by how it is called; of one that is not there yet, by the folder that is."""
    path = os.path.realpath(path)
    below: list[str] = []
    while True:
        try:
            found = os.stat(path)
        except OSError:
            path, name = os.path.split(path)
            below.append(name)
            if not name:
                return path, *below
        else:
            return found.st_dev, found.st_ino, *below


def _server(options: S3Options) -> tuple[object, ...]:
    endpoint = urlsplit(options.endpoint or "")
    host = (endpoint.hostname or "amazonaws.com").rstrip(".")
    if host == "amazonaws.com" or host.endswith(".amazonaws.com"):
        return ("aws",)  # a bucket's name is its own in all regions
    if options.is_on_this_machine:
        host = "this machine"
    return host, endpoint.port or _PORTS.get(endpoint.scheme), endpoint.path.strip("/")
