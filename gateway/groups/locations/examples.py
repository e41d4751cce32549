"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.configuration_rules import STORAGE_CLASSES
from gateway.groups.locations.resources import LocationView
from gateway.http.resources import ListPage

LOCATIONS = ListPage[LocationView](
    items=[
        LocationView(
            name="demo-photos", kind="directory", roles=["source"], region=None, lock=False, storage_classes=[]
        ),
        LocationView(name="local", kind="directory", roles=["tier"], region=None, lock=False, storage_classes=[]),
        LocationView(
            name="offsite",
            kind="s3",
            roles=["tier"],
            region="eu-north-1",
            lock=True,
            storage_classes=list(STORAGE_CLASSES),
        ),
    ]
)
