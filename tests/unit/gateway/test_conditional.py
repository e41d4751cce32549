"""An answer is not sent again to who has it already: has it as it is shown now."""

import msgspec

from gateway.http.conditional import unless_known
from gateway.runs.examples import COMPLETED


def test_tag_is_of_all_that_is_shown() -> None:
    """What a run shows of its configuration has no version of the run's."""
    etag = unless_known(COMPLETED, COMPLETED.version, None).headers["ETag"]
    for known in (etag, f'"0", {etag}', f"W/{etag}", "*"):
        assert unless_known(COMPLETED, COMPLETED.version, known).status_code == 304
    other = msgspec.structs.replace(COMPLETED, is_wedding_critical=not COMPLETED.is_wedding_critical)
    answer = unless_known(other, COMPLETED.version, etag)
    assert (answer.status_code, answer.content) == (None, other)
    assert answer.headers["ETag"] != etag
