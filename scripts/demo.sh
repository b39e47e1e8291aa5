#!/usr/bin/env bash
# The first thing to run after cloning: sets up what is missing, then lets the nano SpatialStack answer questions about its sample pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
# Dawn warns about two limits of every software Vulkan, whatever is asked of it.
exec 2> >(grep --line-buffered -v '^Warning: maxDynamic' >&2)
bash scripts/setup.sh
exec node --import tsx scripts/demo.ts
