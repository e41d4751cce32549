"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.recovery import examples
from gateway.groups.recovery.resources import (
    PointEntries,
    PointVersion,
    RecoveryOperation,
    RecoveryOperationView,
    RecoveryPoint,
)
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

_OF_LISTS = (errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE)

_OF_LOOKS = (
    errors.RECOVERY_POINT_UNKNOWN,
    errors.RECOVERY_POINT_NOT_SEEN_YET,
    errors.RECOVERY_POINT_MISSING,
    errors.LOOK_UNANSWERED,
    errors.TIER_UNREACHABLE,
    errors.TIER_VANISHED,
    errors.TIER_UNUSABLE,
    errors.TIER_ROLLED_BACK,
    errors.VERIFICATION_FAILED,
    errors.UNKNOWN_LOCATION,
    errors.LOCATION_UNUSABLE,
    errors.LOCATIONS_UNREADABLE,
)
"""What a look may fail with, beside what its worker finds wrong with a tier."""

OPERATIONS = {
    "list_recovery_points": Operation(
        group="Recovery",
        answers=(
            Answer(status=200, description="A page", body=ListPage[RecoveryPoint], examples={"one": examples.POINTS}),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, *_OF_LISTS),
    ),
    "show_recovery_point": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The recovery point",
                body=RecoveryPoint,
                examples={"one": examples.POINT},
            ),
        ),
        errors=(errors.RECOVERY_POINT_UNKNOWN,),
    ),
    "list_entries": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="A part of the folder",
                body=PointEntries,
                examples={"folder": examples.ENTRIES},
            ),
        ),
        errors=(errors.ENTRY_UNKNOWN, errors.RECOVERY_POINT_GONE, *_OF_LOOKS, *_OF_LISTS),
    ),
    "list_versions": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[PointVersion],
                examples={"file": examples.VERSIONS},
            ),
        ),
        errors=(*_OF_LOOKS, *_OF_LISTS),
    ),
    "get_content": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The file's bytes",
                body=str,
                examples={"text": examples.CONTENT},
                media_type="application/octet-stream",
                headers={"ETag": "Equal where the bytes are", "Accept-Ranges": "`bytes`"},
            ),
            Answer(
                status=206,
                description="A range of them",
                body=str,
                examples={"text": examples.CONTENT[:7]},
                media_type="application/octet-stream",
                headers={"ETag": "Equal where the bytes are", "Content-Range": "Which bytes, and the size"},
            ),
        ),
        errors=(
            errors.NOT_FOUND,
            errors.ENTRY_UNKNOWN,
            errors.ENTRY_WITHOUT_CONTENT,
            errors.RANGE_NOT_THERE,
            errors.RECOVERY_POINT_GONE,
            errors.SECOND_FACTOR_NEEDED,
            *_OF_LOOKS,
            errors.KEYS_UNUSABLE,
            errors.KEYS_UNREACHABLE,
        ),
    ),
    "list_recoveries": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[RecoveryOperation],
                examples={"one": examples.OPERATIONS},
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.RECOVERY_POINT_UNKNOWN, *_OF_LISTS),
    ),
    "show_recovery": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The recovery",
                body=RecoveryOperationView,
                examples={"completed": examples.SHOWN},
            ),
        ),
        errors=(errors.NOT_FOUND, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
}
