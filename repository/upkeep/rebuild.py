"""Makes a tier's index anew from its packs alone.

Promise: afterwards the index lists every chunk of every whole pack, each proven by reading it; of a damaged pack
only what is proven and lies nowhere else, so that what is lost is stored again by whoever comes with it; where no tier
has that pack whole, this is written into a new one. Old segments say which packs are missed, nothing more. Memory: the
new rows (52 bytes each, beyond a bound in mapped files), and one pack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from repository.errors import Damaged, LogContended, NoUsableTier, ObjectMissing, UnknownKey
from repository.format import FrameEntry, pack_object_key
from repository.index.index import Index, ids_of
from repository.index.pack_catalog import stored_packs
from repository.index.whole_packs import PackContents, read_whole
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.opened.present_objects import are_left
from repository.upkeep.bad_packs import proven_by_rows, write_anew
from repository.upkeep.check_report import CheckProgress

if TYPE_CHECKING:
    from repository.opened.repository import Repository

ATTEMPTS_MAX: Final = 5
"""Each reads all packs anew: what another writer put into the index meanwhile is in it, too."""


class RebuildResult(NamedTuple):
    """What the new index holds. `damaged`: packs of which something is lost, with those in which nothing is readable.

    `missing`: packs that the old index knew, and that are not there. `left_out`: what bears a pack's name, is not
    whole, and is missed by nobody: no index knew it, or all that it holds lies in whole packs (a copy under another
    name).
    """

    tier: str
    packs: int
    rows: int
    segments: int
    damaged: list[bytes]
    missing: list[bytes]
    left_out: list[bytes]


def rebuild_index(
    repository: Repository,
    tier: OpenTier,
    *,
    given_up: Collection[bytes] = (),
    on_progress: Callable[[CheckProgress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> RebuildResult:
    """Replace the tier's index. Its log has to be whole (`repair` comes first).

    `given_up`: packs that no tier has whole; what is whole of them is written anew, where a key allows it. It begins
    again where another writer replaces segments of the old index meanwhile. Raises `NoUsableTier` (tier cannot be
    read), `Damaged` (the log takes no entries), `LogContended` (nothing was replaced) and the store's errors.
    """
    if not tier.is_readable:
        raise NoUsableTier.because("tier cannot be read", [tier.error], tier=tier.name, state=tier.state.value)
    for _ in range(ATTEMPTS_MAX):
        result = _rebuilt(repository, tier, given_up, on_progress, check_cancelled)
        if result is not None:
            return result
    raise LogContended("other writers change the index again and again", tier=tier.name)


def _rebuilt(
    repository: Repository,
    tier: OpenTier,
    given_up: Collection[bytes],
    on_progress: Callable[[CheckProgress], None] | None,
    check_cancelled: Callable[[], None],
) -> RebuildResult | None:
    """One attempt. None: the index that it would have replaced was changed meanwhile, and nothing is replaced."""
    state = tier.refresh()
    replaced = list(state.segments)
    known = tier.index.pack_ids() - state.marked_packs
    packs = [each for each in stored_packs(tier.store) if each.id not in state.swept_packs]
    is_missed = _missed_packs(repository, tier)
    erased = Erased(repository, ChunkReader([tier], repository.keys).chunk)
    index, bad, whole, bytes_done = Index(), list[PackContents](), 0, 0
    for number, contents in enumerate(read_whole(tier.store, repository.keys, packs), start=1):
        check_cancelled()
        if contents.error is None:
            index.add_pack(contents.pack.id, contents.frames)
            whole += 1
        elif not erased.explains(contents.error):
            bad.append(contents)
        bytes_done += contents.pack.size
        if on_progress is not None:
            on_progress(CheckProgress(tier.name, number, len(packs), bytes_done))
    damaged, left_out = list[bytes](), list[bytes]()
    for contents in bad:
        if not contents.frames and is_missed(contents.pack.id):
            # Cut off, say: what lies before the end is as whole as ever.
            contents = contents._replace(proven=proven_by_rows(repository, tier, contents.pack.id))
        if contents.pack.id in given_up and is_missed(contents.pack.id) and (rest := _rest(index, contents)):
            with suppress(UnknownKey, Damaged, ObjectMissing):  # else it is listed where it is
                write_anew(repository, tier, contents.pack.id, rest, index)
        (damaged if is_missed(contents.pack.id) and _add_rest(index, contents) else left_out).append(contents.pack.id)
    # Who uploaded them may have died before syncing.
    tier.store.settle(map(pack_object_key, index.pack_ids()))
    sealed = repository.seal_segments(index.take_new_segments())
    is_done = tier.change_index(sealed, replaced, "rebuilt", only_if=are_left(sealed, state.head.number))
    tier.load()
    if not is_done:
        return None
    missing = sorted(known.difference(pack.id for pack in packs))
    return RebuildResult(tier.name, whole, len(index), len(sealed), damaged, missing, left_out)


def _missed_packs(repository: Repository, tier: OpenTier) -> Callable[[bytes], bool]:
    """Whether somebody may count on a pack: an index knows it, or this tier's is not known as a whole."""
    indexes = [each.index.pack_ids() for each in repository.readable_tiers()]
    is_index_lost = bool(tier.damaged_segments or tier.log.state.faults or not tier.log.state.segments)
    return lambda pack_id: is_index_lost or any(pack_id in each for each in indexes)


def _add_rest(index: Index, contents: PackContents) -> bool:
    """List what of a bad pack is proven and lies nowhere else. False where it holds nothing that others do not."""
    if contents.frames and not any(_is_wanted(index, frame) for frame in contents.frames):
        return False
    if proven := _rest(index, contents):
        index.add_pack(contents.pack.id, proven)
    return True


def _rest(index: Index, contents: PackContents) -> list[FrameEntry]:
    return [frame for frame in contents.proven if _is_wanted(index, frame)]


def _is_wanted(index: Index, frame: FrameEntry) -> bool:
    return not all(map(index.contains, ids_of(frame.chunk_ids)))
