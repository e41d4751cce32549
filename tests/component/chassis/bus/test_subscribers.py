"""Other services' subscriptions: registered by the operator, and used as docs/subscribers.md shows."""

import json
import sys
from pathlib import Path

import pytest

from contracts import errors
from contracts.errors import PlatformError
from contracts.event import pinned_events
from contracts.streams import stream_of
from deploy.nats.subscribers import load_subscribers
from tests.support.subscriber_check import check_subscriber

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.stack


async def test_python_example_has_every_events_effect_once(tmp_path: Path) -> None:
    """The guide's Python subscriber survives repeats, rubbish, a kill and a restart of the server."""
    await check_subscriber([sys.executable, str(ROOT / "docs/examples/subscriber.py")], tmp_path)


def _registered(tmp_path: Path, *subscribers: object) -> Path:
    path = tmp_path / "subscribers.json"
    path.write_text(json.dumps({"subscribers": subscribers}), encoding="utf-8")
    return path


def test_no_file_is_no_subscriber(tmp_path: Path) -> None:
    """Registering nobody is the usual case."""
    assert load_subscribers(tmp_path / "subscribers.json") == ()


def test_subscriber_gets_a_consumer_on_each_stream_that_has_events_for_it(tmp_path: Path) -> None:
    """Its consumers deliver what it asked for and of whom, and its identity may use them alone."""
    path = _registered(
        tmp_path,
        {
            "name": "crm",
            "events": ["executor.backup-completed", "config.configuration-created.v1"],
            "organisations": ["a", "b"],
        },
        {"name": "audit", "events": ["*"]},
    )
    crm, audit = load_subscribers(path)
    first, second = crm.consumers()
    assert (first.stream, first.durable_name) == ("BACKUP_EXECUTOR", "crm--events")
    assert first.subjects == ("backup.executor.a.backup-completed.*", "backup.executor.b.backup-completed.*")
    assert second.stream == "BACKUP_CONFIG"
    assert crm.identity().subscribe == ("_INBOX_crm.>",)
    assert all("crm--events" in subject for subject in crm.identity().publish)
    assert {spec.stream for spec in audit.consumers()} == {
        stream_of(name.partition(".")[0]) for name in pinned_events()
    }
    assert sum(len(spec.subjects) for spec in audit.consumers()) == len(pinned_events())


@pytest.mark.parametrize(
    ("subscriber", "words"),
    [
        ({"name": "Crm", "events": ["*"]}, "a subscriber's name"),
        ({"name": "a", "events": ["*"]}, "a subscriber's name"),
        ({"name": "executor", "events": ["*"]}, "is taken"),
        ({"name": "topology", "events": ["*"]}, "is taken"),
        ({"name": "crm", "events": ["executor.backup-complete.v1"]}, "no such event: executor.backup-complete.v1"),
        ({"name": "crm", "events": []}, "none is named"),
        ({"name": "crm", "events": ["*"], "organisations": ["a.b"]}, "no organisation's id"),
        ({"name": "crm", "events": ["*"], "organisations": [">"]}, "no organisation's id"),
        ({"name": "crm", "events": ["*"], "organisations": []}, "no organisation's id"),
        ({"name": "crm"}, "events"),
        ({"name": "crm", "events": ["*"], "publish": [">"]}, "publish"),
    ],
)
def test_wrong_registration_is_an_invalid_setting(tmp_path: Path, subscriber: object, words: str) -> None:
    """A slip in the file is found before the server is configured by it."""
    with pytest.raises(PlatformError) as caught:
        load_subscribers(_registered(tmp_path, subscriber))
    assert caught.value.code is errors.INVALID_SETTING
    assert words in caught.value.message


def test_name_is_given_once(tmp_path: Path) -> None:
    """Two subscribers of one name would share a queue."""
    with pytest.raises(PlatformError, match="is taken"):
        load_subscribers(_registered(tmp_path, *[{"name": "crm", "events": ["*"]}] * 2))


def test_unreadable_file_is_an_invalid_setting(tmp_path: Path) -> None:
    """A folder in the file's place, or no JSON, is said."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("crm")
    for name in ("folder", "text"):
        with pytest.raises(PlatformError) as caught:
            load_subscribers(tmp_path / name)
        assert caught.value.code is errors.INVALID_SETTING
