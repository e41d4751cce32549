"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from gateway.monitoring.resources import Ticket
from gateway.runs.examples import at

TICKET = Ticket(ticket="mZ3r0dQx1kq9J1b5m8vVfV2wT0nqJ6s4l7c8a9b0d1E", expires_at=at(30))
