"""The work that validations are, as claims know it."""

from chassis.claims.work import Work

VALIDATIONS = Work(
    noun="validation",
    claims="validation_claims",
    turns="validation_turns",
    workers="validation_workers",
    subject="recovery_point",
)
"""The claims of validations: of a recovery point at most one is open."""
