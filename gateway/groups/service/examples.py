"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from gateway.groups.service.resources import Liveness

LIVE = Liveness(status="live")


READY = Liveness(status="ready")
