"""Rules of configurations: a submitted one in, every objection out. Pure."""

from collections.abc import Iterator

from contracts.configuration import ConfigurationBody
from contracts.configuration_rules import Find, objections
from contracts.refusal import Objection


def when_configuration_submitted(body: ConfigurationBody, find: Find) -> Iterator[Objection]:
    """All that speaks against a configuration. `find` gives the organisation's locations by name."""
    return objections(
        source_type=body.source_type,
        source_location=body.source_location,
        storage_destinations=body.storage_destinations,
        leaves_out=body.exclude is not None or body.exclude_caches,
        find=find,
    )
