#!/usr/bin/env bash
# Runs the Node subscriber against a real NATS server, in the Node that comes with the packages of development: a step
# of continuous integration.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec .venv/bin/python -m tests.support.subscriber_check node docs/examples/subscriber.mjs
