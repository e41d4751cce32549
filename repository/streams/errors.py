"""What goes wrong with streams; `context` has the stream's name, and the number or position that is meant."""

from repository.errors import RepositoryError, Retry


class StreamNotFound(RepositoryError):
    """No tier that answers has a stream of this name."""

    code = "stream-not-found"
    hint = "Check the name; a stream is begun by whoever appends to it first."


class StreamContended(RepositoryError):
    """Somebody else appended other bytes where these belong. Nothing of them was stored."""

    code = "stream-contended"
    retry = Retry.AFTER_OPERATOR
    hint = "Two writers append to one stream: find out which of them should, and end the other; then open it anew."


class StreamForked(RepositoryError):
    """Two tiers have different pieces at one number of a stream, each genuine."""

    code = "stream-forked"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "Two writers appended while they saw different tiers. Find out on which tier the bytes are that count; "
        "`repo repair --give-up-streams TIER` sets aside what the other one has."
    )


class StreamGap(RepositoryError):
    """Bytes of the stream are missing: before what is to be appended, or among what is read."""

    code = "stream-gap"
    retry = Retry.AFTER_OPERATOR
    hint = "Append what comes before it first; what a tier lost another one may have: run `repo check`."


class AppendNotDurable(RepositoryError):
    """A tier that was asked for does not have the bytes; others may. The same append may be made again."""

    code = "append-not-durable"
    retry = Retry.LATER
    hint = "Look at what the tier answered, then append the same bytes at the same position again."
