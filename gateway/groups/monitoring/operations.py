"""What each operation of the group takes and gives, by the name of its handler."""

from gateway.groups.monitoring.examples import TICKET
from gateway.monitoring.resources import Ticket
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "give_ticket": Operation(
        group="Monitoring",
        answers=(Answer(status=201, description="A ticket", body=Ticket, examples={"ticket": TICKET}),),
    ),
}
