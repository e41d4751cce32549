"""A second reader of the format, written from docs/repository-format.md alone.

It imports nothing of `repository`: what it reads, anybody can read who has the document, a key and a tier.
"""

import hashlib
import hmac
import json
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = b"wedsync-backup/v1/"


def hkdf(key: bytes, salt: bytes, label: bytes, context: bytes = b"", length: int = 32) -> bytes:
    """HKDF-SHA256 of RFC 5869, for up to 32 bytes."""
    pseudo_random = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    info = PREFIX + label + b"\0" + context
    return hmac.new(pseudo_random, info + b"\1", hashlib.sha256).digest()[:length]


def names_of(body: bytes) -> tuple[bytes, bytes]:
    """What a pack of these bytes may be called: as it is written, and as it once was."""
    return blake3(body).digest(), sha256(body)


def sha256(body: bytes) -> bytes:
    """The digest that names packs and segments."""
    return hashlib.sha256(body).digest()


class IndependentReader:
    """Reads one tier of a directory, with one key file, as section 14 says."""

    def __init__(self, tier: Path, key_file: Path) -> None:
        self.tier = tier
        self.keks = self._keks(key_file)
        self.repository = bytes.fromhex(json.loads((tier / "config").read_bytes())["config"]["repository_id"])
        self.masters: dict[bytes, bytes] = {}
        self.identities: dict[bytes, bytes] = {}
        self.domains: dict[tuple[str, int], bytes] = {}
        for path in sorted((tier / "keys").iterdir()):
            self._open_master(path)
        self.root = min((self.domains[domain] for domain in self.domains if domain[0] == "default"), key=self._age)
        self.config = self._verified_config()
        self.manifests: list[tuple[str, dict[str, Any]]] = []
        self.segments: dict[str, None] = {}
        self.tier_ids: set[bytes] = set()
        self.checkpoint: dict[str, Any] = {}
        self.streams: dict[str, dict[str, Any]] = {}
        self._read_log()
        self.rows = {chunk_id: place for name in self.segments for chunk_id, place in self._segment(name)}

    def _age(self, master: bytes) -> int:
        return next(generation for (_, generation), other in self.domains.items() if other == master)

    def _keks(self, key_file: Path) -> dict[bytes, bytes]:
        keks = {}
        for line in key_file.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            magic, digits, check = line.split("-")
            kek = bytes.fromhex(digits)
            assert magic == "wsbkek1"
            assert sha256(PREFIX + b"kek" + kek)[:4].hex() == check
            keks[hkdf(kek, b"", b"kek-id", length=16)] = kek
        return keks

    def _open_master(self, path: Path) -> None:
        key = json.loads(path.read_bytes())
        key_id, kek_id = bytes.fromhex(key["key_id"]), bytes.fromhex(key["kek_id"])
        assert path.name == f"{key['key_id']}.{key['kek_id']}"
        if kek_id not in self.keks:
            return
        wrapped = bytes.fromhex(key["wrapped"])
        bound = PREFIX + b"master\0" + self.repository + key_id + kek_id
        payload = AESGCM(self.keks[kek_id]).decrypt(wrapped[:12], wrapped[12:], bound)
        master, identity, generation, length = struct.unpack("<32s32sIH", payload[:70])
        name = payload[70:].decode()
        assert len(payload) == 70 + length
        assert hkdf(master, self.repository, b"key-id", length=16) == key_id
        self.masters[key_id] = master
        self.identities[key_id] = identity
        self.domains[name, generation] = master

    def _verified_config(self) -> dict[str, Any]:
        body = (self.tier / "config").read_bytes()
        start, end = body.index(b'{"config":') + 10, body.index(b',"mac":')
        inner = body[start:end]
        mac = blake3(inner, key=hkdf(self.root, self.repository, b"config")).hexdigest()
        assert json.loads(body)["mac"] == mac
        config: dict[str, Any] = json.loads(inner)
        seed = hkdf(self.root, self.repository, b"signature")
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert config["public_key"] == public.hex()
        return config

    def _read_log(self) -> None:
        public = self._public()
        previous = sha256((self.tier / "config").read_bytes())
        for number, path in enumerate(
            sorted(path for path in (self.tier / "log").rglob("*") if path.is_file()), start=1
        ):
            body = path.read_bytes()
            public.verify(body[-64:], PREFIX + b"log-entry\0" + body[:-64])
            magic, version, flags, length, own, repository, tier, snapshots, named = struct.unpack(
                "<8sHHIQ16s16sQ32s", body[:96]
            )
            assert (magic, version, own, repository) == (b"WSBENTRY", 1, number, self.repository)
            assert flags in {0, 1, 2, 3}
            self.tier_ids.add(tier)
            assert path.name == f"{number:016d}"
            assert path.parent.name == path.name[:13]
            assert named == previous
            assert len(body) == 96 + length + 64
            previous = sha256(body)
            says = msgspec.json.decode(
                self._unsealed(body[96:-64], kind=2, context=body[16:96]), type=dict[str, msgspec.Raw]
            )
            self._apply(json.loads(bytes(says["kind"])), says)
            assert snapshots == len(self.manifests)

    def _apply(self, kind: str, says: dict[str, msgspec.Raw]) -> None:
        if kind == "snapshot":
            manifest = bytes(says["manifest"])
            identity = sha256(PREFIX + b"snapshot\0" + self.repository + manifest)[:16].hex()
            assert json.loads(bytes(says["id"])) == identity
            self.manifests.append((identity, json.loads(manifest)))
            self.segments.update(dict.fromkeys(json.loads(bytes(says["segments"]))))
        elif kind == "index":
            for name in json.loads(bytes(says["replaced"])):
                del self.segments[name]
            self.segments.update(dict.fromkeys(json.loads(bytes(says["added"]))))
        else:
            assert kind in {"begun", "mark", "unmark", "keys", "accept", "bridge", "checkpoint", "append"}
            if kind == "append":
                self.streams[json.loads(bytes(says["stream"]))] = {key: json.loads(bytes(says[key])) for key in says}
            if kind == "checkpoint":
                self.checkpoint = {name: json.loads(bytes(value)) for name, value in says.items()}

    def _unsealed(self, body: bytes, *, kind: int, context: bytes = b"") -> bytes:
        header = body[:64]
        magic, version, own, compression, length, key_id, salt = struct.unpack("<8sHBBI16s32s", header)
        assert (magic, version, own) == (b"WSBSEAL1", 1, kind)
        object_root = hkdf(self.masters[key_id], self.repository, b"object-root")
        key = hkdf(object_root, salt, b"object", self.repository + bytes([kind]))
        bound = PREFIX + b"sealed\0" + header + self.repository + context
        plain = AESGCM(key).decrypt(struct.pack("<IQ", 3, 0), body[64:], bound)
        if compression == 1:
            plain = zstandard.ZstdDecompressor().decompress(plain, max_output_size=length)
        assert len(plain) == length
        return plain

    def _segment(self, name: str) -> Iterator[tuple[bytes, tuple[bytes, int, int, int, int]]]:
        body = (self.tier / "index" / name).read_bytes()
        assert sha256(body).hex() == name
        plain = self._unsealed(body, kind=1)
        rows, packs, buckets, shift = struct.unpack("<IIIB3x", plain[:16])
        prefixes_at = 16 + 32 * packs
        rests_at = prefixes_at + 8 * rows
        buckets_at = rests_at + 24 * rows
        records_at = buckets_at + 4 * (buckets + 1)
        assert len(plain) == records_at + 20 * rows
        prefixes = struct.unpack_from(f"<{rows}Q", plain, prefixes_at)
        bounds = struct.unpack_from(f"<{buckets + 1}I", plain, buckets_at)
        assert list(prefixes) == sorted(prefixes)
        for row, prefix in enumerate(prefixes):
            bucket = (prefix - prefixes[0]) >> shift
            assert bounds[bucket] <= row < bounds[bucket + 1]
            rest = plain[rests_at + 24 * row : rests_at + 24 * row + 24]
            pack, *place = struct.unpack_from("<5I", plain, records_at + 20 * row)
            yield prefix.to_bytes(8, "big") + rest, (plain[16 + 32 * pack : 48 + 32 * pack], *place)  # type: ignore[misc]

    def manifest_object(self, identity: str) -> dict[str, Any]:
        """The second copy of a snapshot's manifest."""
        body = (self.tier / "snapshots" / identity).read_bytes()
        number = struct.unpack_from("<Q", body, 16)[0]
        digits = f"{number:016d}"
        assert body == (self.tier / "log" / digits[:13] / digits).read_bytes()
        says = msgspec.json.decode(
            self._unsealed(body[96:-64], kind=2, context=body[16:96]), type=dict[str, msgspec.Raw]
        )
        assert json.loads(bytes(says["id"])) == identity
        found: dict[str, Any] = json.loads(bytes(says["manifest"]))
        return found

    def named_checkpoint(self) -> dict[str, Any]:
        """The state that the last `checkpoint` entry names."""
        number, digest = self.checkpoint["number"], self.checkpoint["digest"]
        body = (self.tier / "checkpoints" / f"{number:016d}-{digest}").read_bytes()
        assert sha256(body).hex() == digest
        place = struct.pack("<Q", number)
        self._public().verify(body[-64:], PREFIX + b"checkpoint\0" + place + body[:-64])
        found: dict[str, Any] = msgspec.msgpack.decode(self._unsealed(body[:-64], kind=5, context=place))
        assert {found["tier_id"]} == self.tier_ids
        assert found["digest"] == sha256((self.tier / "log" / f"{number:016d}"[:13] / f"{number:016d}").read_bytes())
        return found

    def stream(self, name: str) -> list[tuple[int, bytes]]:
        """Position and bytes of each piece of a stream, in order."""
        stream_id = hkdf(self.root, self.repository, b"stream-id", name.encode(), 16)
        folder = self.tier / "streams" / stream_id.hex()
        previous = sha256(PREFIX + b"stream\0" + self.repository + stream_id)
        found: list[tuple[int, bytes]] = []
        for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file()), start=1):
            body = path.read_bytes()
            assert path.relative_to(folder).as_posix() == f"{number:016d}"[:13] + f"/{number:016d}"
            self._public().verify(body[-64:], PREFIX + b"stream-piece\0" + body[:-64])
            magic, version, flags, length, own, repository, stream, room, named = struct.unpack(
                "<8sHHIQ16s16s8s32s", body[:96]
            )
            assert (magic, version, flags, own, room) == (b"WSBPIECE", 1, 0, number, bytes(8))
            assert (repository, stream, named) == (self.repository, stream_id, previous)
            assert len(body) == 96 + length + 64
            plain = self._unsealed(body[96:-64], kind=6, context=body[16:96])
            assert body[96 + 32 : 96 + 64] == self._salt_of(body[96:-64], body[16:96])
            position, name_length = struct.unpack_from("<QH", plain)
            assert plain[10 : 10 + name_length].decode() == name
            found.append((position, plain[10 + name_length :]))
            previous = sha256(body)
            if number == self.streams[name]["number"]:
                assert self.streams[name]["digest"] == previous.hex()
                assert self.streams[name]["position"] == position + len(found[-1][1])
        return found

    def _salt_of(self, sealed: bytes, context: bytes) -> bytes:
        """The salt that follows from what is sealed in a piece of a stream."""
        header, key_id, salt = sealed[:64], sealed[16:32], sealed[32:64]
        object_root = hkdf(self.masters[key_id], self.repository, b"object-root")
        key = hkdf(object_root, salt, b"object", self.repository + b"\6")
        bound = PREFIX + b"sealed\0" + header + self.repository + context
        packed = AESGCM(key).decrypt(struct.pack("<IQ", 3, 0), sealed[64:], bound)
        salt_key = hkdf(object_root, self.repository, b"salt", b"\6")
        without = PREFIX + b"sealed\0" + header[:32] + bytes(32) + self.repository + context
        return blake3(without + packed, key=salt_key).digest()

    def _public(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.config["public_key"]))

    def chunk(self, chunk_id: bytes) -> bytes:
        """One chunk's plaintext, proven by its id."""
        pack_id, offset, length, start, chunk_length = self.rows[chunk_id]
        body = (self.tier / "packs" / pack_id.hex()[:2] / pack_id.hex()).read_bytes()
        assert pack_id in names_of(body)
        header, frame = body[:96], body[offset : offset + length]
        magic, version, flags, _kind, repository, key_id, salt = struct.unpack("<8sHHB3x16s16s32s16x", header)
        assert (magic, version, flags, repository) == (b"WSBPACK1", 1, 0, self.repository)
        master = self.masters[key_id]
        key = hkdf(hkdf(master, self.repository, b"pack-root"), salt, b"pack", self.repository)
        clear = AESGCM(key).decrypt(struct.pack("<IQ", 4, offset), frame[:48], header)
        raw, stored, _count, _class, compression, _digest = struct.unpack("<IIHBB16s4x", clear)
        assert length == 48 + stored
        plain = AESGCM(key).decrypt(struct.pack("<IQ", 1, offset), frame[48:], header + clear)
        if compression == 1:
            plain = zstandard.ZstdDecompressor().decompress(plain, max_output_size=raw)
        assert len(plain) == raw
        chunk = plain[start : start + chunk_length]
        assert blake3(chunk, key=hkdf(self.identities[key_id], self.repository, b"chunk-id")).digest() == chunk_id
        return chunk

    def footer_rows(self, path: Path) -> dict[bytes, tuple[bytes, int, int, int, int]]:
        """What a pack's own footer says of its chunks."""
        body = path.read_bytes()
        header, trailer = body[:96], body[-24:]
        offset, length, magic = struct.unpack("<QI4x8s", trailer)
        assert magic == b"WSBPEND1"
        master = self.masters[header[32:48]]
        key = hkdf(hkdf(master, self.repository, b"pack-root"), header[48:80], b"pack", self.repository)
        plain = AESGCM(key).decrypt(struct.pack("<IQ", 2, 0), body[offset : offset + length], header + trailer)
        frames, chunks = struct.unpack("<II", plain[:8])
        ids_at = 8 + 36 * frames
        lengths = struct.unpack_from(f"<{chunks}I", plain, ids_at + 32 * chunks)
        rows = {}
        number = 0
        for frame in range(frames):
            at, _raw, stored, inside = struct.unpack_from("<IIIH", plain, 8 + 36 * frame)
            start = 0
            for _ in range(inside):
                chunk_id = plain[ids_at + 32 * number : ids_at + 32 * number + 32]
                rows[chunk_id] = (bytes.fromhex(path.name), at, 48 + stored, start, lengths[number])
                start += lengths[number]
                number += 1
        return rows

    def tree(self, root: list[str]) -> dict[bytes, tuple[int, int, bytes]]:
        """Mode, modification time and SHA-256 (of a file; a symlink's target) of every entry below the root."""
        found: dict[bytes, tuple[int, int, bytes]] = {}
        self._pages(b"", b"".join(map(bytes.fromhex, root)), 0, found)
        return found

    def _pages(self, path: bytes, content: bytes, depth: int, found: dict[bytes, tuple[int, int, bytes]]) -> None:
        for page_id in self._ids(content, depth):
            version, names, columns, contents, extras = msgspec.msgpack.decode(self.chunk(page_id), strict=False)
            assert version == 1
            stats = [struct.unpack(f"<{len(names)}q", column) for column in columns]
            for number, name in enumerate(names):
                extra = extras.get(number, {})
                mode, size, modified = stats[0][number], stats[3][number], stats[4][number]
                own, below = contents[number] or b"", extra.get("depth", 0)
                full = path + b"/" + name if path else name
                if name:
                    found[full] = (mode, modified, self._content(mode, size, own, extra))
                if stat.S_ISDIR(mode):
                    self._pages(full, own, below, found)

    def _ids(self, content: bytes, depth: int) -> Iterator[bytes]:
        for start in range(0, len(content), 32):
            chunk_id = content[start : start + 32]
            if depth:
                yield from self._ids(self.chunk(chunk_id), depth - 1)
            else:
                yield chunk_id

    def _content(self, mode: int, size: int, content: bytes, extra: dict[str, Any]) -> bytes:
        if stat.S_ISLNK(mode):
            return bytes(extra["t"])
        if not stat.S_ISREG(mode):
            return b""
        body = b"".join(self.chunk(chunk_id) for chunk_id in self._ids(content, extra.get("depth", 0)))
        if extra.get("flags", 0) & 8:
            whole = bytearray(size)
            extents = struct.unpack(f"<{len(extra.get('extents', b'')) // 8}q", extra.get("extents", b""))
            taken = 0
            for offset, length in zip(extents[::2], extents[1::2], strict=True):
                whole[offset : offset + length] = body[taken : taken + length]
                taken += length
            body = bytes(whole)
        assert len(body) == size
        return sha256(body)
