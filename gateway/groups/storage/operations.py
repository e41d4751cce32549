"""What each operation of the group gives, by the name of its handler."""

from gateway.groups.storage.examples import OVERVIEW, TIERS
from gateway.groups.storage.resources import StorageOverview, StorageTiers
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "show_storage": Operation(
        group="Storage",
        answers=(Answer(status=200, description="The overview", body=StorageOverview, examples={"one": OVERVIEW}),),
    ),
    "list_storage_tiers": Operation(
        group="Storage",
        answers=(Answer(status=200, description="The locations", body=StorageTiers, examples={"one": TIERS}),),
    ),
}
