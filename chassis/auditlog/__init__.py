"""An append-only Merkle log of what was published: hashes, tiles and proofs, and signed checkpoints. Both are pure."""
