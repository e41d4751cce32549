"""Keys and lists that are there and half-written: the start is refused by their names, and `status` has them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chassis.location import Location
from chassis.sealing import Sealer
from contracts.errors import HOME_UNUSABLE, KEYS_UNUSABLE, PlatformError
from deploy.locations.credentials import S3Secret, keep
from deploy.locations.organisations import added
from deploy.stack import nats, platform
from deploy.stack.identity_provider import IdentityProvider
from deploy.stack.layout import Layout
from deploy.stack.locations import register, registered
from deploy.stack.places import Places
from deploy.stack.platform import run_platform
from deploy.stack.whole import require_readable

ORGANISATIONS = '{"organisations": [{"id": "acme", "name": "Acme"}]}'
SUBSCRIBERS = '{"subscribers": [{"name": "crm", "events": ["*"]}]}'
KEYS = (
    "keys/secrets.json",
    "keys/identity.pem",
    "keys/nats/gateway.seed",
    "keys/platform/SEALING-KEYS",
    "keys/platform/MADE",
    "keys/platform/audit-log.key",
)
LISTS = ("config/organisations.json", "config/subscribers.json", "config/locations.json")


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that was started, and in which an operator has registered something."""
    layout = Layout.create(tmp_path_factory.mktemp("whole") / "home")
    (layout.config / "organisations.json").write_text(ORGANISATIONS)
    layout.subscribers_file.write_text(SUBSCRIBERS)
    platform.prepare(layout)
    nats.make_seeds(layout)
    Sealer(layout.platform_keys).make_keys("acme")
    (layout.platform_keys / "audit-log.key").write_bytes(bytes(32))
    layout.note_begun()
    return layout.home


@pytest.fixture
def layout(pattern: Path, tmp_path: Path) -> Layout:
    """A copy of it."""
    shutil.copytree(pattern, tmp_path / "home")
    return Layout.create(tmp_path / "home")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [_half, _empty, _folder, _pipe])
@pytest.mark.parametrize("name", [*KEYS, *LISTS])
async def test_file_that_cannot_be_read_is_named_at_the_start_and_while_it_runs(
    layout: Layout, name: str, damage: Callable[[Path], None]
) -> None:
    """Nothing is started, and nothing is changed; who looks at the platform that runs learns of it before."""
    places = Places(layout)
    assert [place.reason for place in await places.look() if place.name in ("keys", "lists")] == []
    require_readable(layout)
    damage(layout.home / name)
    with pytest.raises(PlatformError) as refused:
        require_readable(layout)
    assert refused.value.code is (KEYS_UNUSABLE if name in KEYS else HOME_UNUSABLE)
    assert f"{name} (" in refused.value.message
    assert "Put their copies back" in refused.value.hint
    is_list_with_whole_lines = name.endswith("MADE") and damage is _half
    told = [place.reason or "" for place in await places.look() if place.name in ("keys", "lists")]
    assert is_list_with_whole_lines or [f"{name} (" in reason for reason in told] == [True]


async def test_start_is_refused_before_anything_is_started(layout: Layout) -> None:
    """Also where nothing but one part would have missed it."""
    _half(layout.home / "keys/nats/gateway.seed")
    (layout.platform_keys / "MADE").write_text("organisations/acme/organisation 1\n")
    with pytest.raises(PlatformError, match=r"gateway\.seed .*, keys/platform/MADE \(it does not name"):
        await run_platform(layout.home, say=lambda _: None)
    with pytest.raises(PlatformError, match=r"gateway\.seed \([^()]*\)\Z"):
        await run_platform(layout.home, say=lambda _: None, begin_anew=["keys/platform/MADE"])


def test_the_way_on_without_a_copy_is_told_where_there_is_one(layout: Layout) -> None:
    """What is begun anew is moved aside first: nothing of it is written over."""
    for name in ("keys/secrets.json", "keys/identity.pem", "config/organisations.json"):
        _half(layout.home / name)
    with pytest.raises(PlatformError) as refused:
        require_readable(layout)
    assert "move config/organisations.json and keys/identity.pem aside" in refused.value.hint
    assert "up --begin-anew config/organisations.json --begin-anew keys/identity.pem" in refused.value.hint
    assert "secrets.json" not in refused.value.hint


def test_list_of_made_keys_that_lacks_one_is_told_and_taken_as_it_is_by_command_alone(layout: Layout) -> None:
    """Half a list has whole lines, too; which keys there are tells that it is not the whole of it."""
    (layout.platform_keys / "MADE").write_text("organisations/acme/organisation 1\n")
    with pytest.raises(PlatformError, match=r"keys/platform/MADE \(it does not name organisations/acme/digest/1\.key"):
        require_readable(layout)
    Sealer(layout.platform_keys).note_found()
    require_readable(layout)


def test_list_without_keys_is_begun_anew_by_command(layout: Layout) -> None:
    """Where all of them were destroyed, too: the hint leads out, and not into the same refusal again."""
    Sealer(layout.platform_keys).destroy("acme")
    (layout.platform_keys / "MADE").write_bytes(b"")
    with pytest.raises(PlatformError, match=r"keys/platform/MADE \(it names none"):
        require_readable(layout)
    Sealer(layout.platform_keys).note_found()
    require_readable(layout)


def test_list_of_made_keys_that_is_gone_is_missed(layout: Layout) -> None:
    """It is remembered like every other key."""
    (layout.platform_keys / "MADE").unlink()
    with pytest.raises(PlatformError, match="keys/platform/MADE"):
        Layout.create(layout.home)
    Layout.create(layout.home, begin_anew=["keys/platform/MADE"])


def test_commands_name_what_they_cannot_read(layout: Layout) -> None:
    """With a code and a hint, whatever lies in a list's place, also in the middle of a run of a part."""
    for name in ("config/locations.json", "config/organisations.json"):
        _folder(layout.home / name)
    for read in (registered, added):
        with pytest.raises(PlatformError, match="is a directory") as refused:
            read(layout)
        assert refused.value.code is HOME_UNUSABLE
    _half(layout.home / "keys/identity.pem")
    with pytest.raises(PlatformError, match="not the whole of one") as refused:
        IdentityProvider.of(layout)
    assert "wedsync-backup up --begin-anew keys/identity.pem" in refused.value.hint
    _half(layout.home / "keys/nats/gateway.seed")
    with pytest.raises(PlatformError, match=r"keys/nats/gateway\.seed \(it is no nkey's seed") as refused:
        nats.make_seeds(layout)
    assert refused.value.code is KEYS_UNUSABLE


@pytest.mark.parametrize("damage", [_half, _empty, _folder, _pipe, Path.unlink])
async def test_credentials_of_one_place_are_told_and_stop_nothing(
    layout: Layout, damage: Callable[[Path], None]
) -> None:
    """One tenant's are no reason that nobody is served; that they are half-written is known before the night."""
    place = Location(
        name="acme-cloud",
        kind="s3",
        roles=("tier",),
        organisations=("acme",),
        url="s3://bucket/acme?endpoint=https://s3.example",
        credentials="acme/acme-cloud",
    )
    register(layout, place)
    keep(layout, place, S3Secret("key", "hunter2"))
    places = Places(layout)

    async def told() -> list[str]:
        return [each.reason or "" for each in await places.look() if each.name == "credentials"]

    assert await told() == []
    path = layout.credentials / "acme/acme-cloud.json"
    damage(path)
    for _ in range(2):
        (reason,) = await told()
        assert "acme-cloud (" in reason
        assert "location rotate acme-cloud --credentials" in reason
        assert "hunter2" not in reason
    require_readable(layout)
    shutil.rmtree(path.parent)
    keep(layout, place, S3Secret("key", "hunter2"))
    assert await told() == []
    _half(layout.credentials / "offsite.json")
    assert "down, then up, writes the platform's own anew" in (await told())[0]


async def test_key_of_the_audit_log_that_is_gone_is_missed_and_begun_anew_by_command(layout: Layout) -> None:
    """At once, and at the start; who makes another one is the service, which is told so by a mark."""
    key, mark = layout.platform_keys / "audit-log.key", layout.platform_keys / "audit-log.anew"
    key.unlink()
    (told,) = [place.reason or "" for place in await Places(layout).look() if place.name == "keys"]
    assert "wedsync-backup up --begin-anew keys/platform/audit-log.key" in told
    with pytest.raises(PlatformError, match=r"keys/platform/audit-log\.key") as refused:
        Layout.create(layout.home)
    assert "wedsync-backup up --begin-anew keys/platform/audit-log.key" in refused.value.hint
    assert not mark.exists()
    Layout.create(layout.home, begin_anew=["keys/platform/audit-log.key"])
    assert (mark.exists(), key.exists()) == (True, False)
    Layout.create(layout.home)
