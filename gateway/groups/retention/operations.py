"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.retention.examples import (
    CLEANUP,
    CLEANUPS,
    NEW_PREVIEW,
    PREVIEW,
    RETENTION_POLICIES,
    RETENTION_POLICY,
)
from gateway.groups.retention.resources import NewPreview, RetentionCleanup, RetentionPolicy, RetentionPreview
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_retention_policies": Operation(
        group="Retention",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[RetentionPolicy],
                examples={"one": RETENTION_POLICIES},
            ),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "list_cleanups": Operation(
        group="Retention",
        answers=(
            Answer(status=200, description="A page", body=ListPage[RetentionCleanup], examples={"one": CLEANUPS}),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_cleanup": Operation(
        group="Retention",
        answers=(
            Answer(status=200, description="The cleanup", body=RetentionCleanup, examples={"completed": CLEANUP}),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "preview_retention": Operation(
        group="Retention",
        answers=(
            Answer(
                status=200,
                description="What would become of the points",
                body=RetentionPreview,
                examples={"one goes": PREVIEW},
            ),
        ),
        body=NewPreview,
        body_examples={"a policy": NEW_PREVIEW},
        errors=(
            errors.RETENTION_POLICY_UNKNOWN,
            errors.CONFIGURATION_UNKNOWN,
            errors.RETENTION_KEEPS_NOTHING,
            errors.RETENTION_CONTRADICTION,
            errors.RETENTION_PREVIEW_TOO_LARGE,
            errors.RETENTION_CLOCK_IN_DOUBT,
            errors.INVALID_CURSOR,
            errors.KEYS_UNUSABLE,
            errors.KEYS_UNREACHABLE,
        ),
    ),
    "show_retention_policy": Operation(
        group="Retention",
        answers=(
            Answer(
                status=200,
                description="The retention policy",
                body=RetentionPolicy,
                examples={"photos": RETENTION_POLICY},
            ),
        ),
        errors=(errors.RETENTION_POLICY_UNKNOWN, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
}
