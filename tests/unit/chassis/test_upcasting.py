"""Old versions of events are read as the newest; what is stored never changes."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from chassis.upcasting import Upcasters, read_event
from contracts.configuration import Tier
from contracts.envelope import Envelope, MalformedEvent, UnknownEventType, decode
from contracts.event import Event
from contracts.executor_events import TierFailed

# An envelope as a first version of the platform might have stored it; the class of v1 is gone.
STORED = Path(__file__).with_name("old_event.json").read_bytes()


class PackSealed(Event, frozen=True, kw_only=True):
    """The newest version: bytes are told apart, and the tier is named."""

    NAME = "sample.pack-sealed.v3"

    pack_id: str
    stored_bytes: Annotated[int, Meta(ge=0)]
    tier: str


def _upcasters() -> Upcasters:
    upcasters = Upcasters({PackSealed.NAME: PackSealed}.get)

    @upcasters.register("sample.pack-sealed.v1", to="sample.pack-sealed.v2")
    def name_the_bytes(fields: dict[str, Any]) -> dict[str, Any]:
        return {"packId": fields["pack"], "storedBytes": fields["size"]}

    @upcasters.register("sample.pack-sealed.v2", to="sample.pack-sealed.v3")
    def name_the_tier(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "tier": "local"}

    return upcasters


def test_stored_event_of_version_1_is_read_as_version_3() -> None:
    """The steps from version to version are taken one after another."""
    assert _upcasters().read(decode(STORED)) == PackSealed(pack_id="pack-7", stored_bytes=4096, tier="local")


def test_upcasting_leaves_the_envelope_as_it_was_stored() -> None:
    """The identity, the time and the type of an old event stay what they were."""
    envelope = decode(STORED)
    _upcasters().read(envelope)
    assert (envelope.type, envelope.id) == ("sample.pack-sealed.v1", "0199a0f2-3333-7000-8000-000000000003")
    assert msgspec.json.encode(envelope) == STORED.strip()


def test_event_of_the_newest_version_is_read_without_a_step() -> None:
    """Events without an upcaster are decoded by the contracts alone."""
    envelope = msgspec.structs.replace(
        decode(STORED), type=TierFailed.NAME, data=msgspec.Raw(b'{"executionId":"a","tier":"local","code":"tier-full"}')
    )
    assert read_event(envelope) == TierFailed(execution_id="a", tier=Tier.LOCAL, code="tier-full")


def test_unknown_newest_version_is_told_apart_from_a_malformed_event() -> None:
    """An event of a newer build waits; a broken one does not."""
    envelope = decode(STORED)
    with pytest.raises(UnknownEventType):
        Upcasters().read(envelope)
    unknown = Upcasters()
    unknown.register("sample.pack-sealed.v1", to="sample.pack-sealed.v9")(lambda fields: fields)
    with pytest.raises(UnknownEventType, match=r"v9"):
        unknown.read(envelope)


@pytest.mark.parametrize("data", [b"[]", b'{"pack":"p","size":-1}', b'{"pack":7,"size":1}'])
def test_data_that_does_not_fit_after_the_steps_is_malformed(data: bytes) -> None:
    """What cannot be read names the type, not its contents."""
    envelope: Envelope = msgspec.structs.replace(decode(STORED), data=msgspec.Raw(data))
    with pytest.raises(MalformedEvent, match=r"sample\.pack-sealed\.v1"):
        _upcasters().read(envelope)


def test_register_refuses_a_second_step_and_a_circle() -> None:
    """From each version there is one way, and it ends."""
    upcasters = _upcasters()
    with pytest.raises(ValueError, match="already"):
        upcasters.register("sample.pack-sealed.v1", to="sample.pack-sealed.v3")(lambda fields: fields)
    with pytest.raises(ValueError, match="itself"):
        upcasters.register("sample.pack-sealed.v3", to="sample.pack-sealed.v1")(lambda fields: fields)
    assert upcasters.newest("sample.pack-sealed.v1") == "sample.pack-sealed.v3"
