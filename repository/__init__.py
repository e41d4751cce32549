"""The data plane: encrypted, deduplicated repositories on up to four tiers.

With a key and a bucket it restores, without platform code, service or network but the bucket's.
"""
