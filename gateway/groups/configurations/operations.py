"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.configurations.examples import CONFIGURATION, CONFIGURATIONS, NEW_CONFIGURATION, TEMPLATE_LIST
from gateway.groups.configurations.resources import Configuration, NewConfiguration
from gateway.groups.configurations.templates import Template
from gateway.http.resources import ListPage
from gateway.openapi.operation import ETAG, LOCATION, Answer, Operation, taken_down
from gateway.writes.examples import PENDING_CONFIGURATION

OPERATIONS = {
    "create_configuration": Operation(
        group="Configurations",
        body=NewConfiguration,
        body_examples={"photos": NEW_CONFIGURATION},
        answers=(
            Answer(
                status=201,
                description="Created",
                body=Configuration,
                examples={"created": CONFIGURATION},
                headers={**LOCATION, **ETAG},
            ),
            taken_down(pending=PENDING_CONFIGURATION),
        ),
        errors=(
            errors.CONFIGURATION_NAME_TAKEN,
            errors.UNKNOWN_LOCATION,
            errors.LOCATION_KIND_MISMATCH,
            errors.NO_DESTINATION,
            errors.DESTINATION_TWICE,
            errors.DESTINATION_IS_SOURCE,
            errors.SOURCE_EXCLUDED,
            errors.DESTINATION_EXCLUDED,
            errors.LOCK_NOT_SUPPORTED,
            errors.PATH_OUTSIDE_LOCATION,
            errors.LOCATIONS_UNREADABLE,
            errors.CONCURRENT_CHANGE,
            errors.KEYS_UNUSABLE,
            errors.NO_SPACE,
        ),
    ),
    "list_configurations": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[Configuration],
                examples={"one": CONFIGURATIONS},
            ),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE),
    ),
    "list_templates": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The templates",
                body=ListPage[Template],
                examples={"all": TEMPLATE_LIST},
            ),
        ),
    ),
    "show_configuration": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The configuration",
                body=Configuration,
                examples={"healthy": CONFIGURATION},
                headers=ETAG,
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.KEYS_UNUSABLE),
    ),
}
