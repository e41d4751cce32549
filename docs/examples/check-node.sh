#!/usr/bin/env bash
# Runs the Node subscriber against a real NATS server. Needs Node 20 or later; a step of continuous integration,
# since `make test` needs no Node.
set -euo pipefail
cd "$(dirname "$0")/../.."
npm ci --prefix docs/examples --ignore-scripts --no-audit --no-fund --loglevel=error
exec .venv/bin/python -m tests.support.subscriber_check node docs/examples/subscriber.mjs
