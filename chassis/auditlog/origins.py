"""What the logs are called in their checkpoints, which is the name of the key that signs them, too.

A log whose record was put back, or whose key was lost, goes on under another name: that of the instant from which on
it is another one, a later one in the order of letters. So no checkpoint of before says anything of it.
"""

PRODUCT = "wedsync-backup.audit"
_SINCE = "/since/"


def origin_of(organisation: str, since: str = "") -> str:
    """The origin of an organisation's log; of the platform's, whose organisation is the empty text.

    `since`: when its generation began; the first has none.
    """
    origin = f"{PRODUCT}/organisation/{organisation}" if organisation else f"{PRODUCT}/platform"
    return f"{origin}{_SINCE}{since}" if since else origin


def since_of(origin: str) -> str:
    """When the generation of an origin began; empty of the first."""
    return origin.partition(_SINCE)[2]
