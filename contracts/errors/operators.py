"""What may be wrong with what an operator registers."""

from contracts.errors.catalogue import Retry, entered

LOCATION_TAKEN = entered(
    "location-taken",
    409,
    Retry.NEVER,
    "Another location has this name or this place",
    "Choose another name or place, or use the one that is there: wedsync-backup location list.",
)
LOCATION_EXCLUDED = entered(
    "location-excluded",
    422,
    Retry.NEVER,
    "The place can never be a location",
    "Choose a place outside the platform's own home and outside every other tier.",
)
PLACE_IN_USE = entered(
    "place-in-use",
    409,
    Retry.AFTER_OPERATOR,
    "Other files, or another repository, lie at the place of a new tier",
    "Ask the operator for a place where nothing else lies, or to move away what lies there; nothing was written.",
)
LOCATION_ACCESS_DENIED = entered(
    "location-access-denied",
    403,
    Retry.AFTER_OPERATOR,
    "The place is there, and may not be used",
    "Give the platform's user, or these credentials, the rights that the role needs.",
)
LOCATION_IN_USE = entered(
    "location-in-use",
    409,
    Retry.AFTER_OPERATOR,
    "A configuration uses the location",
    "Its runs would fail. Where that is meant: wedsync-backup location remove NAME --anyway.",
)
CREDENTIALS_UNUSABLE = entered(
    "credentials-unusable",
    422,
    Retry.AFTER_OPERATOR,
    "The credentials cannot be used",
    "Name credentials that are there, whole, and their owner's alone.",
)
UNKNOWN_ORGANISATION = entered(
    "unknown-organisation",
    404,
    Retry.AFTER_OPERATOR,
    "No organisation of this id is there",
    "Look which there are, or add it first: wedsync-backup organisation list, wedsync-backup organisation add NAME.",
)
ORGANISATION_TAKEN = entered(
    "organisation-taken",
    409,
    Retry.NEVER,
    "The organisation is registered already",
    "Choose another id, or use it as it is: wedsync-backup organisation list.",
)
