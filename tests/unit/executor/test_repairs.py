"""What the end of a repair says, whatever was found, wherever, and by however many attempts."""

import pytest

from chassis.record.mapper import EVENT_BYTES_MAX
from contracts.envelope import encode_data
from contracts.gateway_events import Evidence
from contracts.repair_events import (
    DamagedObject,
    PlaceRepaired,
    RepairedObject,
    StorageRepaired,
    StorageTierRepairBegun,
    StorageTierRepaired,
)
from contracts.storage_requests import StorageRepairRequested
from services.executor.repairing.domain import StorageRepair

LOCATIONS = [f"location-{number:04}" for number in range(2000)]


def _repair() -> StorageRepair:
    repair = StorageRepair("repair-1")
    request = StorageRepairRequested(request_id="r", repair_id=repair.id, evidence=Evidence(assurance="aal1"))
    repair.accept(request)
    repair.prepare(fence=1, worker="w1")
    return repair


def _key(number: int) -> str:
    return f"packs/{number:02x}/{number:064x}"


def _place(location: str, elsewhere: int = 4) -> PlaceRepaired:
    whole_at = tuple(LOCATIONS[:elsewhere])
    found = tuple(
        DamagedObject(problem="pack-damaged", object_key=_key(each), whole_at=whole_at) for each in range(100)
    )
    done = tuple(RepairedObject(object_key=_key(each), source="location-0001") for each in range(100))
    return PlaceRepaired(location=location, damaged=150, repaired=120, left=100, found=found, done=done)


@pytest.mark.parametrize("count", [1, 7, 60, 2000])
def test_end_of_a_repair_fits_into_an_event_and_counts_what_it_does_not_name(count: int) -> None:
    """However many locations there are, and objects at each."""
    repair = _repair()
    repair.complete([_place(each) for each in LOCATIONS[:count]], fence=1, seconds=1.0)
    end = repair.pending[-1]
    assert isinstance(end, StorageRepaired)
    assert len(encode_data(end)) < EVENT_BYTES_MAX
    assert len(end.repaired_places) + end.more_places == count
    assert (end.more_places > 0) == (count == 2000)
    for place in end.repaired_places:
        assert place.unnamed == 150 - len(place.found) + 120 - len(place.done) + 100


def test_location_with_copies_at_very_many_others_is_told_within_an_event() -> None:
    repair = _repair()
    place = _place("local", elsewhere=300)
    repair.begin(place, fence=1)
    repair.repaired(place, fence=1)
    begun, told = repair.pending[-2:]
    assert isinstance(begun, StorageTierRepairBegun)
    assert isinstance(told, StorageTierRepaired)
    assert max(len(encode_data(each)) for each in (begun, told)) < EVENT_BYTES_MAX
    assert begun.found_place.unnamed > 0
