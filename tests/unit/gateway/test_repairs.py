"""What a repair shows of locations while it goes on, and where it is cut off."""

from contracts.event import Event
from contracts.repair_events import (
    PlaceRepaired,
    StorageRepairAccepted,
    StorageRepaired,
    StorageRepairFailed,
    StorageTierRepairBegun,
    StorageTierRepaired,
)
from contracts.samples import sample_event
from gateway.groups.storage.repairs import RepairView, begun
from tests.support.messages import envelope_of


def _view(*events: Event) -> RepairView:
    accepted = sample_event(StorageRepairAccepted)
    view = begun(envelope_of(accepted), accepted)
    for event in events:
        view.apply(envelope_of(event), event)
    return view


def _begun(location: str) -> StorageTierRepairBegun:
    return StorageTierRepairBegun(repair_id="r", found_place=PlaceRepaired(location=location, damaged=2))


def test_what_was_begun_and_never_told_is_shown_as_cut_off() -> None:
    """Each attempt is counted; what was told whole is not cut off by a failure elsewhere."""
    whole = PlaceRepaired(location="local", damaged=2, repaired=2)
    told = StorageTierRepaired(repair_id="r", repaired_place=whole)
    failed = StorageRepairFailed(repair_id="r", code="tier-unreachable")
    view = _view(_begun("local"), told, _begun("second"), _begun("second"), failed)
    assert [(each.location, each.damaged, each.interrupted) for each in view.places] == [
        ("local", 2, 0),
        ("second", 2, 2),
    ]


def test_locations_that_the_end_had_no_room_for_stay_as_they_were_told() -> None:
    whole = PlaceRepaired(location="local", damaged=2, repaired=2)
    told = StorageTierRepaired(repair_id="r", repaired_place=whole)
    end = StorageRepaired(repair_id="r", dry_run=False, degraded=False, more_places=1)
    assert _view(_begun("local"), told, end).places == [whole]
