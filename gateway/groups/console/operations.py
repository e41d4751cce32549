"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "console_page": Operation(
        group="Documents",
        answers=(
            Answer(
                status=200,
                description="The console's page",
                body=str,
                examples={"begin": "<!doctype html>"},
                media_type="text/html",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "console_file": Operation(
        group="Documents",
        answers=(
            Answer(
                status=200,
                description="A script, a style sheet or a picture",
                body=str,
                examples={"begin": "const "},
                media_type="text/javascript",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
}
