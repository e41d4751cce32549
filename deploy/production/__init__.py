"""Units and manifests for production: written from the processes and their settings, committed, and compared."""
