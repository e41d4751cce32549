"""Signed checkpoints, as C2SP has them."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chassis.auditlog.note import Checkpoint, is_signed, key_id, public_bytes, signed, verifier_key


def test_key_is_named_as_go_s_sumdb_names_its_own() -> None:
    """A verifier key that others have published (sum.golang.org) has the id that we would give it."""
    name, told, key = "sum.golang.org", "033de0ae", "Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    public = base64.b64decode(key)[1:]
    assert key_id(name, public).hex() == told
    assert verifier_key(name, public) == f"{name}+{told}+{key}"


def test_note_is_signed_text_and_all() -> None:
    """Whoever has the public key checks the signature over the three lines, and finds the key by its id."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a key for tests").digest())
    note = signed(Checkpoint("wedsync-backup.audit/a", 7, bytes(32)), key)
    text, _, signatures = note.partition("\n\n")
    assert text == f"wedsync-backup.audit/a\n7\n{base64.b64encode(bytes(32)).decode()}"
    dash, name, encoded = signatures.strip().split(" ")
    given = base64.b64decode(encoded)
    public = public_bytes(key.public_key())
    assert (dash, name, given[:4]) == ("\N{EM DASH}", "wedsync-backup.audit/a", key_id(name, public))
    Ed25519PublicKey.from_public_bytes(public).verify(given[4:], f"{text}\n".encode())


def test_note_is_believed_for_what_it_says_alone() -> None:
    """Another size, root, origin or key, another byte anywhere, and what is no note."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a key for tests").digest())
    public = public_bytes(key.public_key())
    said = Checkpoint("wedsync-backup.audit/a", 7, bytes(32))
    note = signed(said, key)
    assert is_signed(note, said, public)
    others = [Checkpoint("wedsync-backup.audit/b", 7, bytes(32)), Checkpoint(said.origin, 8, bytes(32))]
    assert not any(is_signed(note, other, public) for other in [*others, Checkpoint(said.origin, 7, b"x" * 32)])
    assert not is_signed(note, said, bytes(reversed(public)))
    for broken in ("", note[:-5], note.replace("7", "8"), f"{note}{note}", note.replace("\n\n", "\n")):
        assert not is_signed(broken, said, public), broken
