"""The aggregate: what a configuration is after its events."""

from contracts import errors
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.gateway_events import ConfigurationSubmitted, Evidence
from contracts.refusal import Objection
from services.config.domain import Configuration
from tests.support.configurations import body


def test_created_configuration_is_in_force_as_version_1() -> None:
    """A creation carries the whole body and the request that it answers."""
    configuration = Configuration("configuration-1")
    configuration.create(request_id="request-1", body=body())
    assert configuration.pending == (
        ConfigurationCreated(request_id="request-1", configuration_id="configuration-1", version=1, body=body()),
    )
    assert (configuration.body, configuration.body_version, configuration.is_refused) == (body(), 1, False)


def test_refused_configuration_exists_as_its_refusal_alone() -> None:
    """A refusal says code, field and what to do, and leaves no body."""
    configuration = Configuration("configuration-1")
    request = ConfigurationSubmitted(
        request_id="request-1", configuration_id="configuration-1", body=body(), evidence=Evidence(assurance="aal1")
    )
    objection = Objection(errors.NO_DESTINATION, "storageDestinations", "Name one.")
    configuration.record(ConfigurationRefused.of(request, objection))
    assert configuration.pending == (
        ConfigurationRefused(
            request_id="request-1",
            configuration_id="configuration-1",
            code="no-destination",
            field="storageDestinations",
            hint="Name one.",
        ),
    )
    assert (configuration.body, configuration.is_refused) == (None, True)
