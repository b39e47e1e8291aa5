#!/usr/bin/env bash
# Installs what is missing to run here: the npm packages of package-lock.json and, where no GPU can be used, Mesa's software Vulkan; compiles src to dist.
# Does nothing where all is there. npm packages' own install scripts are not run: none of them is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v node >/dev/null || { echo "Node 20.19 or newer is needed: https://nodejs.org" >&2; exit 1; }
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
  || { echo "Node 20.19 or newer is needed; this is $(node --version)" >&2; exit 1; }

if [ ! -e node_modules/.package-lock.json ] || [ node_modules/.package-lock.json -ot package-lock.json ]; then
  echo "installing npm packages" >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
fi

node -e 'import("./bin/compiled.mjs").then(({ isCompiled }) => process.exit(isCompiled() ? 0 : 1))' || npm run --silent build >&2

# Dawn warns about two limits of every software Vulkan, whatever is asked of it.
find_adapter() { node --import tsx scripts/find-adapter.ts 2> >(grep -v '^Warning: maxDynamic' >&2); }

if ! find_adapter; then
  echo "installing Mesa's software Vulkan" >&2
  bash scripts/install-software-vulkan.sh
  find_adapter
fi
