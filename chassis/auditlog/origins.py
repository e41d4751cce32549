"""What the logs are called in their checkpoints, which is the name of the key that signs them, too."""

PRODUCT = "wedsync-backup.audit"


def origin_of(organisation: str) -> str:
    """The origin of an organisation's log; of the platform's, whose organisation is the empty text."""
    return f"{PRODUCT}/organisation/{organisation}" if organisation else f"{PRODUCT}/platform"
