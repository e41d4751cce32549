"""Rules of configurations: a submitted one in, the first objection out. Pure."""

from contracts.configuration import ConfigurationBody
from contracts.configuration_rules import Find, objections
from contracts.refusal import Objection


def when_configuration_submitted(body: ConfigurationBody, find: Find) -> Objection | None:
    """What speaks against a configuration, or None. `find` gives the organisation's locations by name."""
    every = objections(
        source_type=body.source_type,
        source_location=body.source_location,
        storage_destinations=body.storage_destinations,
        find=find,
    )
    return next(every, None)
