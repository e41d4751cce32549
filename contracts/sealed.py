"""A field that may carry personal data, encrypted before it enters an event.

The ciphertext is AES-256-GCM under the key of the organisation or of the data subject. That key
lives apart from the event store; destroying it erases the field from history everywhere, while the
event, its order and its proofs stay whole. This package only knows the shape: sealing and opening
are `chassis.sealing`.
"""

from contracts.event import Value


class Sealed(Value, frozen=True, kw_only=True):
    """An encrypted text.

    `key` names the key (never its value): `organisation/<id>/<generation>` or
    `subject/<organisation id>/<subject id>/<generation>`. `box` is nonce (12 bytes), ciphertext and
    tag (16 bytes), base64 in JSON. The associated data is the key's name and the pinned field name
    that the sealer was given, so that a box cannot be moved to another field or organisation.
    """

    key: str
    box: bytes
