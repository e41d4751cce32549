"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.configurations.examples import (
    CONFIGURATION,
    CONFIGURATION_VERSIONS,
    CONFIGURATIONS,
    TEMPLATE_LIST,
    TESTED,
    UNTESTED,
)
from gateway.groups.configurations.resources import Configuration, ConfigurationTest, ConfigurationVersion
from gateway.groups.configurations.templates import Template
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
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
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
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
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
    "show_configuration": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The configuration",
                body=Configuration,
                examples={"healthy": CONFIGURATION},
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_configuration_test": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="What was found",
                body=ConfigurationTest,
                examples={"fails": TESTED, "untested": UNTESTED},
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN,),
    ),
    "list_configuration_versions": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[ConfigurationVersion],
                examples={"renamed": CONFIGURATION_VERSIONS},
            ),
        ),
        errors=(
            errors.CONFIGURATION_UNKNOWN,
            errors.INVALID_CURSOR,
            errors.KEYS_UNUSABLE,
            errors.KEYS_UNREACHABLE,
        ),
    ),
}
