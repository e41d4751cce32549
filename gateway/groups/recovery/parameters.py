"""Parameters of the routes that look into a recovery point."""

from typing import Annotated

from litestar.params import QueryParameter

PathIn = Annotated[
    str,
    QueryParameter(name="path", max_length=4096, description="A path in the recovery point; empty for its root"),
]
PathBytes = Annotated[
    str | None,
    QueryParameter(
        name="pathBytes",
        max_length=6000,
        description="The path in base64, in place of `path`, where it has `nameBytes` in it",
    ),
]
