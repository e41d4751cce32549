"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.locations.examples import LOCATIONS
from gateway.groups.locations.resources import LocationView
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_locations": Operation(
        group="Locations",
        answers=(
            Answer(
                status=200,
                description="The locations",
                body=ListPage[LocationView],
                examples={"embedded": LOCATIONS},
            ),
        ),
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
}
