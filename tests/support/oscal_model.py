"""OSCAL's model of assessment results as a JSON schema, of the parts that our reports have: nothing else may be there.

OSCAL 1.2.1, https://pages.nist.gov/OSCAL: names, what must be there, forms of ids, tokens, times, and lists that are
never empty.
"""

from typing import Any

_UUID = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_TOKEN = {"type": "string", "pattern": r"^[A-Za-z_][\w.-]*$"}
_LINE = {"type": "string", "pattern": r"^\S(.*\S)?$"}
_TEXT = {"type": "string"}


def _object(needed: dict[str, Any], **others: Any) -> dict[str, Any]:
    """An object of these members and of no others."""
    return {
        "type": "object",
        "properties": {**needed, **others},
        "required": list(needed),
        "additionalProperties": False,
    }


def _several(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


_PROPS = _several(_object({"name": _TOKEN, "value": _LINE}, ns=_LINE))
_STATUS = _object(
    {"state": {"enum": ["satisfied", "not-satisfied"]}}, reason={"enum": ["pass", "fail", "other"]}, remarks=_TEXT
)
_TARGET = _object({"type": {"enum": ["statement-id", "objective-id"]}, "target-id": _TOKEN, "status": _STATUS})
_OBSERVATION = _object(
    {
        "uuid": _UUID,
        "description": _TEXT,
        "methods": _several({"enum": ["EXAMINE", "INTERVIEW", "TEST", "UNKNOWN"]}),
        "collected": _TIME,
    },
    title=_LINE,
    types=_several(_TOKEN),
    props=_PROPS,
    remarks=_TEXT,
    **{"relevant-evidence": _several(_object({"description": _TEXT}, href=_LINE, props=_PROPS))},
)
_FINDING = _object(
    {"uuid": _UUID, "title": _LINE, "description": _TEXT, "target": _TARGET},
    props=_PROPS,
    **{"remarks": _TEXT, "related-observations": _several(_object({"observation-uuid": _UUID}))},
)
_SELECTED = _object({"include-controls": _several(_object({"control-id": _TOKEN}))})
_RESULT = _object(
    {
        "uuid": _UUID,
        "title": _LINE,
        "description": _TEXT,
        "start": _TIME,
        "reviewed-controls": _object({"control-selections": _several(_SELECTED)}),
    },
    end=_TIME,
    props=_PROPS,
    observations=_several(_OBSERVATION),
    findings=_several(_FINDING),
)
_METADATA = _object(
    {"title": _LINE, "last-modified": _TIME, "version": _LINE, "oscal-version": {"const": "1.2.1"}}, remarks=_TEXT
)
OSCAL = _object(
    {
        "assessment-results": _object(
            {
                "uuid": _UUID,
                "metadata": _METADATA,
                "import-ap": _object({"href": _LINE}),
                "results": _several(_RESULT),
            },
            **{
                "back-matter": _object({}, resources=_several(_object({"uuid": _UUID}, title=_LINE, description=_TEXT)))
            },
        )
    }
)
"""What OSCAL's model of assessment results (https://pages.nist.gov/OSCAL) says of the parts that a report has."""
