"""Retention policies as they are sent: what one says, and every field that is wrong."""

from collections.abc import Iterator
from typing import Any

from contracts.errors import PlatformError
from contracts.retention import RetentionRules, objections
from gateway.groups.retention.resources import NewRetentionPolicy
from gateway.http.problems import error_of_code
from gateway.http.texts import kept, wrong_texts


def rules_of(data: NewRetentionPolicy) -> RetentionRules:
    """What a policy that is sent says, without its name, with its tags as they are kept."""
    said: dict[str, Any] = {name: getattr(data, name) for name in RetentionRules.__struct_fields__}
    return RetentionRules(**said | {"tags": tuple(kept(tag) for tag in data.tags)})


def wrong_fields(data: NewRetentionPolicy, rules: RetentionRules, within: str = "") -> Iterator[PlatformError]:
    """All that speaks against a policy. `within`: the field that it is sent in, with its dot."""
    yield from wrong_texts(
        (f"{within}name", data.name), *((f"{within}tags[{at}]", tag) for at, tag in enumerate(data.tags))
    )
    for each in objections(rules):
        field = None if each.field is None else f"{within}{each.field}"
        yield error_of_code(each.code.code, field=field, hint=each.hint)
