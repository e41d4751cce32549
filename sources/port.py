"""The port that every source implements, as `repository` defines it.

It lives in `repository.backup.source`, because the repository must be able to back up and restore where nothing
else is installed; this module is where the rest of the platform imports it from.
"""

from repository.backup.source import (
    LOSSES,
    FileProblem,
    Listing,
    ProblemSink,
    Reason,
    SmallFile,
    Source,
    SourceDirectory,
    SourceFile,
    SourceUnreachable,
)

__all__ = [
    "LOSSES",
    "FileProblem",
    "Listing",
    "ProblemSink",
    "Reason",
    "SmallFile",
    "Source",
    "SourceDirectory",
    "SourceFile",
    "SourceUnreachable",
]
