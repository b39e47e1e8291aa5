#!/usr/bin/env bash
# The first thing to run after cloning: sets up what is missing, then lets the nano SpatialStack answer questions about its sample pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
exec node --import tsx scripts/demo.ts
