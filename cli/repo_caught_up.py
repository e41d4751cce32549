"""What `repo catch-up` says that it has copied."""

from cli.output import say, size
from repository.upkeep.catch_up import CatchUpResult


def added(before: CatchUpResult | None, now: CatchUpResult) -> CatchUpResult:
    """What two attempts at one tier have copied, and what is lacking after the second."""
    if before is not None:
        now.copied_keys += before.copied_keys
        now.orders += before.orders
        now.erased.removed = [*before.erased.removed, *now.erased.removed]
        now.copied_packs += before.copied_packs
        now.copied_bytes += before.copied_bytes
        now.copied_segments += before.copied_segments
        now.streams.pieces += before.streams.pieces
        now.streams.bytes += before.streams.bytes
        now.snapshots = [*before.snapshots, *now.snapshots]
    return now


def catch_up_document(result: CatchUpResult) -> dict[str, object]:
    """What was copied to one tier, for JSON."""
    return {
        "keys": result.copied_keys,
        "orders": result.orders,
        "erased_keys": result.erased.removed,
        "erased_keys_left": result.erased.left,
        "packs": result.copied_packs,
        "bytes": result.copied_bytes,
        "segments": result.copied_segments,
        "snapshots": result.snapshots,
        "stream_pieces": result.streams.pieces,
        "streams_left_out": {name: str(error) for name, error in result.streams.left_out.items()},
        "lost_packs": [pack_id.hex() for pack_id in result.lost_packs],
        "left_out": result.left_out,
    }


def say_caught_up(name: str, result: CatchUpResult) -> None:
    """What was copied to one tier, for people."""
    for stream, error in result.streams.left_out.items():
        say(f"{name}: stream {stream} was left out: {error} [{error.code}]")
    if result.streams.pieces:
        say(f"{name}: {result.streams.pieces:,} pieces of streams ({size(result.streams.bytes)}) copied")
    if result.orders:
        say(f"{name}: {result.orders:,} orders taken over: snapshots forgotten, holds, keys destroyed")
    if result.erased.removed:
        say(f"{name}: {len(result.erased.removed):,} wrapped keys of erased domains deleted")
    for object_key, why in result.erased.left.items():
        say(f"  LEFT {object_key}, of an erased domain: {why}")
    if result.copied_keys:
        say(f"{name}: {result.copied_keys:,} key objects copied")
    elif not result.copied_packs and not result.snapshots and not result.streams.pieces and result.is_complete:
        say(f"{name}: has everything")
        return
    amount = f"{result.copied_packs:,} packs ({size(result.copied_bytes)})"
    say(f"{name}: {amount} and {len(result.snapshots):,} snapshots copied")
    for pack_id in result.lost_packs:
        say(f"  no tier has pack {pack_id.hex()} whole")
    for snapshot_id in result.left_out:
        say(f"  snapshot {snapshot_id} was left out: something that it needs is missing")
