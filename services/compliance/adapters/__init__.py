"""What the compliance service uses: Postgres, streams, the file of the signing key."""
