"""What may be wrong with a configuration."""

from contracts.errors.catalogue import Retry, entered

CONFIGURATION_NAME_TAKEN = entered(
    "configuration-name-taken",
    409,
    Retry.NEVER,
    "The name is taken",
    "Choose a name that no other configuration of the organisation has.",
)
UNKNOWN_LOCATION = entered(
    "unknown-location",
    422,
    Retry.AFTER_OPERATOR,
    "The location is not registered",
    "Use a name from /api/backup/locations, or ask an operator to register one.",
)
LOCATION_KIND_MISMATCH = entered(
    "location-kind-mismatch",
    422,
    Retry.NEVER,
    "The location is of another kind",
    "Use a location whose kind fits the source or the tier.",
)
NO_DESTINATION = entered(
    "no-destination",
    422,
    Retry.NEVER,
    "There is no storage destination",
    "Name at least one of local, cloudPrimary, cloudSecondary and offsite.",
)
DESTINATION_TWICE = entered(
    "destination-twice",
    422,
    Retry.NEVER,
    "Two tiers are in one place",
    "Give each tier a location of its own.",
)
LOCK_NOT_SUPPORTED = entered(
    "lock-not-supported",
    422,
    Retry.NEVER,
    "The location cannot lock objects",
    "Use a location with object lock, or leave lockDays out.",
)
PATH_OUTSIDE_LOCATION = entered(
    "path-outside-location",
    422,
    Retry.NEVER,
    "The path leaves its location",
    "Use a relative path without '..' below the location's root.",
)
SOURCE_NOT_A_FOLDER = entered(
    "source-not-a-folder",
    422,
    Retry.NEVER,
    "The source is no folder",
    "Name a folder: a file, or a link to itself, is none.",
)
DESTINATION_IS_SOURCE = entered(
    "destination-is-source",
    422,
    Retry.NEVER,
    "A tier is in the place that is backed up",
    "Give the tier a location elsewhere: a backup beside its source is lost with it.",
)
DESTINATION_EXCLUDED = entered(
    "destination-excluded",
    422,
    Retry.NEVER,
    "A tier lies in a folder of the platform's own",
    "Give the tier a location outside the platform's own folders (keys, data, settings, logs).",
)
CONFIGURATION_UNKNOWN = entered(
    "configuration-unknown",
    404,
    Retry.NEVER,
    "There is no such configuration",
    "Check the id; only configurations of your own organisation are found.",
)
CONFIGURATION_RETIRED = entered(
    "configuration-retired",
    409,
    Retry.NEVER,
    "The configuration is retired",
    "It has no more runs, and what it has saved stays; create a new configuration, which may have its name.",
)
CONFIGURATION_PAUSED = entered(
    "configuration-paused",
    409,
    Retry.AFTER_OPERATOR,
    "The configuration is paused",
    "It has no runs until an owner resumes it (POST /api/backup/configurations/ID/resume).",
)
CONFIGURATION_NOT_PAUSED = entered(
    "configuration-not-paused",
    409,
    Retry.NEVER,
    "The configuration is not paused",
    "It has runs: nothing is to be done.",
)
CONFIGURATION_UNREADABLE = entered(
    "configuration-unreadable",
    500,
    Retry.AFTER_OPERATOR,
    "The kept copy of a configuration cannot be read",
    "Create the configuration anew, then start a new run; where a newer build wrote it, update the platform first.",
)
CONFIGURATION_NOT_SEEN_YET = entered(
    "configuration-not-seen-yet",
    503,
    Retry.LATER,
    "The configuration has not arrived yet",
    "Try again in a few seconds.",
)
BULK_REFUSED = entered(
    "bulk-refused",
    422,
    Retry.NEVER,
    "None of the configurations was created",
    "Correct those that are refused for reasons of their own, and send all again with a new Idempotency-Key.",
)
BULK_NOT_SEEN_YET = entered(
    "bulk-not-seen-yet",
    503,
    Retry.LATER,
    "Not all configurations that were submitted at once have arrived yet",
    "Try again in a few seconds.",
)
TEST_ALREADY_OPEN = entered(
    "test-already-open",
    409,
    Retry.LATER,
    "The configuration is being tested",
    "Wait for the test that is under way: GET /api/backup/configurations/ID/test shows it when it is done.",
)
TEST_GIVEN_UP = entered(
    "test-given-up",
    503,
    Retry.LATER,
    "The test of the configuration did not come to its end",
    "Ask again with a new Idempotency-Key; where it lasts, the operator looks at executor-worker.",
)
NOT_TESTED = entered(
    "not-tested",
    503,
    Retry.LATER,
    "This could not be looked at",
    "Mend what failed before it, and test again.",
)
TIERS_ARE_ONE = entered(
    "tiers-are-one",
    422,
    Retry.AFTER_OPERATOR,
    "Two tiers turn out to be one place",
    "What was written to one is found in the other: ask the operator to register a place of its own for each.",
)
SCHEDULE_NEVER_DUE = entered(
    "schedule-never-due",
    422,
    Retry.NEVER,
    "The schedule never falls due",
    "Choose times that come, within the window and outside the blackouts.",
)
SCHEDULE_MISSED = entered(
    "schedule-missed",
    409,
    Retry.NEVER,
    "A scheduled backup did not begin in time",
    "Nothing could start it when it was due, and its schedule lets it not be made up for; execute it by hand.",
)
