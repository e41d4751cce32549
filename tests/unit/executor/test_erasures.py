"""By when an erasure has to be done, and what stands against one."""

from datetime import UTC, datetime, timedelta

import pytest

from chassis.subject_keys import domain_of
from contracts import errors
from contracts.configuration import ConfigurationState
from contracts.erasure_events import ErasureState, PrivacyLaw
from contracts.errors import PlatformError
from contracts.reading import UNKNOWN
from contracts.sample_values import BODY
from repository.opened.key_change import add_generation
from repository.retention.orders import place_hold, release_hold
from repository.retention.receipt import verified
from services.executor.adapters.erasing.plane import RepositoryErasure
from services.executor.erasing.deadlines import due_by
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import Standing, against
from services.executor.retention.plans import Knowledge, KnownPoint
from tests.support.repositories import Scene, photos
from vault.places import Place

SUBJECT = "9a1b" * 16
NOW = datetime(2026, 6, 13, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ("2026-06-13T09:30", "2026-07-13T09:30"),
        ("2026-01-31T00:00", "2026-02-28T00:00"),
        ("2028-01-31T00:00", "2028-02-29T00:00"),
        ("2026-12-31T23:59", "2027-01-31T23:59"),
        ("2026-02-28T12:00", "2026-03-28T12:00"),
    ],
)
def test_a_month_ends_with_the_day_of_its_number_or_the_last_one(asked: str, due: str) -> None:
    at = datetime.fromisoformat(f"{asked}+00:00")
    assert due_by(PrivacyLaw.GDPR, at) == datetime.fromisoformat(f"{due}+00:00")
    assert due_by(PrivacyLaw.CCPA, at) == at + timedelta(days=45)


def _standing(state: ConfigurationState, **of_point: object) -> Standing:
    point = KnownPoint(id="p", configuration_id="c", snapshot_id="s", at=NOW, is_proven=True, **of_point)  # type: ignore[arg-type]  # tests know it
    known = Knowledge(now=NOW, newest=None, points=[point], configurations={"c": BODY}, rules={})
    return Standing(states={"c": state}, running=("c",) if state is ConfigurationState.PAUSED else (), knowledge=known)


def test_only_a_retired_configuration_without_runs_readers_and_holds_stands_against_nothing() -> None:
    """A state that a newer build has written is not taken for retired."""
    assert against(_standing(ConfigurationState.RETIRED)) == []
    assert [each.code for each in against(_standing(ConfigurationState.PAUSED))] == [
        errors.CONFIGURATION_IN_FORCE.code,
        errors.BACKUP_UNDER_WAY.code,
    ]
    unknown = Standing(states={"c": UNKNOWN}, running=(), knowledge=_standing(ConfigurationState.RETIRED).knowledge)  # type: ignore[dict-item]  # as it is read
    assert [each.code for each in against(unknown)] == [errors.CONFIGURATION_IN_FORCE.code]
    held = against(_standing(ConfigurationState.RETIRED, holds=("h",), readers=("the recovery r",)))
    assert [(each.code, each.about) for each in held] == [
        (errors.POINT_HELD.code, "h"),
        (errors.RECOVERY_UNDER_WAY.code, "p"),
    ]


def _opened(scene: Scene) -> RepositoryErasure:
    places = {
        each.name: Place(
            store=each, location=each.name, folder=None, patience_seconds=1.0, store_of=lambda _, store=each: store
        )
        for each in scene.stores
    }
    return RepositoryErasure(scene.reopen(), places, lambda: None, lambda: False)


def test_what_a_lock_keeps_is_told_with_its_end_and_goes_then() -> None:
    """It is not called complete by then, and what was destroyed is known by the ids of its keys."""
    scene = Scene(("a", "b"), locks=True)
    add_generation(scene.repository, scene.provider, domain_of(SUBJECT))
    scene.reopen()
    scene.backup(photos(2), "theirs", domain=domain_of(SUBJECT))
    store, ids = scene.store("a"), _opened(scene).look(SUBJECT, ()).key_ids
    (copy,) = [info.key for info in store.list("keys/") if ids[0] in info.key]
    end = store.now() + timedelta(days=3)
    store.extend_lock(copy, end)

    done = _opened(scene).destroy(SUBJECT, ids)
    assert not done.is_complete
    assert [(each.location, each.code, each.left, each.locked_until) for each in done.places] == [
        ("a", errors.KEYS_LOCKED.code, 1, end),
        ("b", None, 0, None),
    ]
    erasure = SubjectErasure("e")
    erasure.prepare(fence=1, worker="w")
    erasure.erased((), done.places, fence=1, is_complete=False, receipt=done.receipt)
    assert (erasure.state, erasure.possible_at) == (ErasureState.WAITING, end)
    store._locked_until.clear()
    done = _opened(scene).destroy(SUBJECT, ids)
    assert (done.is_complete, [each.code for each in done.places]) == (True, [None, None])
    assert _opened(scene).destroy(SUBJECT, ids).is_complete, "once more changes nothing"


def test_a_key_that_was_made_beside_it_is_destroyed_and_signed_for() -> None:
    scene = Scene(("a",))
    add_generation(scene.repository, scene.provider, domain_of(SUBJECT))
    opened = _opened(scene)
    ids = opened.look(SUBJECT, ()).key_ids
    maker = scene.reopen()
    add_generation(maker, scene.provider, domain_of(SUBJECT))
    made = maker.keys.active(domain_of(SUBJECT)).key_id.hex()
    done = opened.destroy(SUBJECT, ids)
    assert done.is_complete
    assert done.receipt is not None
    receipt = verified(done.receipt.encode(), bytes.fromhex(maker.config.public_key))
    assert receipt.key_ids == tuple(sorted({*ids, made}))


def test_a_hold_that_the_command_line_has_placed_is_seen_on_the_tiers() -> None:
    """And one that comes between the look and the first key stops it."""
    scene = Scene(("a", "b"))
    add_generation(scene.repository, scene.provider, domain_of(SUBJECT))
    scene.reopen()
    made = scene.backup(photos(2), "theirs", domain=domain_of(SUBJECT))
    assert made is not None
    opened = _opened(scene)
    assert opened.look(SUBJECT, ()).holds == []
    place_hold(scene.reopen(), "case-7", [made.id])
    assert _opened(scene).look(SUBJECT, ()).holds == ["case-7"]
    with pytest.raises(PlatformError) as refused:
        _opened(scene).destroy(SUBJECT, ())
    assert refused.value.code is errors.POINT_HELD
    release_hold(scene.reopen(), "case-7")
    assert _opened(scene).destroy(SUBJECT, _opened(scene).look(SUBJECT, ()).key_ids).is_complete
