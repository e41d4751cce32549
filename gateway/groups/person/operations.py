"""What each operation of the group takes and gives, by the name of its handler."""

from gateway.groups.person.examples import OPERATOR
from gateway.groups.person.resources import Person
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "show_person": Operation(
        group="Person",
        answers=(Answer(status=200, description="Who asks", body=Person, examples={"operator": OPERATOR}),),
    ),
}
