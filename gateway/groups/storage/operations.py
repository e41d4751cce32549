"""What each operation of the group gives, by the name of its handler."""

from contracts import errors
from gateway.groups.storage.examples import OPTIMIZATION, OPTIMIZATIONS, OVERVIEW, REPAIR, REPAIRS, TIERS
from gateway.groups.storage.resources import StorageOptimization, StorageOverview, StorageRepair, StorageTiers
from gateway.http.resources import ListPage
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
    "list_repairs": Operation(
        group="Storage",
        answers=(Answer(status=200, description="A page", body=ListPage[StorageRepair], examples={"one": REPAIRS}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_repair": Operation(
        group="Storage",
        answers=(Answer(status=200, description="The repair", body=StorageRepair, examples={"completed": REPAIR}),),
        errors=(errors.NOT_FOUND,),
    ),
    "list_optimizations": Operation(
        group="Storage",
        answers=(
            Answer(
                status=200, description="A page", body=ListPage[StorageOptimization], examples={"one": OPTIMIZATIONS}
            ),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_optimization": Operation(
        group="Storage",
        answers=(
            Answer(
                status=200,
                description="The optimisation",
                body=StorageOptimization,
                examples={"completed": OPTIMIZATION},
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
}
