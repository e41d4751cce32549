"""What may keep an organisation's tiers from being repaired."""

from contracts.errors.catalogue import Retry, entered

STORAGE_REPAIR_OPEN = entered(
    "storage-repair-open",
    409,
    Retry.LATER,
    "The organisation has a repair that has not ended",
    "Wait for its end (GET /api/backup/storage/repairs), then ask again with a new Idempotency-Key.",
)
STORAGE_REPAIR_ABANDONED = entered(
    "storage-repair-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The repair was given up after too many workers fell silent over it",
    "Look at the workers' logs (wedsync-backup logs executor-worker), then ask for another repair: it goes on.",
)
STORAGE_OPTIMIZATION_OPEN = entered(
    "storage-optimization-open",
    409,
    Retry.LATER,
    "The organisation has an optimisation that has not ended",
    "Wait for its end (GET /api/backup/storage/optimizations), then ask again with a new Idempotency-Key.",
)
STORAGE_OPTIMIZATION_ABANDONED = entered(
    "storage-optimization-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The optimisation was given up after too many workers fell silent over it",
    "Look at the workers' logs (wedsync-backup logs executor-worker), then ask for another one: it goes on.",
)
TIER_NOT_IN_USE = entered(
    "tier-not-in-use",
    422,
    Retry.NEVER,
    "Nothing of the organisation is kept at this location",
    "Name locations at which a backup of the organisation has run (GET /api/backup/storage/tiers).",
)
STORAGE_DAMAGED = entered(
    "storage-damaged",
    500,
    Retry.AFTER_OPERATOR,
    "Damage is left on a tier",
    "What is left is named, with the locations that have it: bring those back and ask for another repair. Of what no "
    "location has, the next backup stores again what its source still has; the operator's `wedsync-backup repo repair "
    "--bridge` gives up entries of a log of which there is no whole copy.",
)
