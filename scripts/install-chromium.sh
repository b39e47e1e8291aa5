#!/usr/bin/env bash
# Installs Debian's Chromium, in which a test opens the page that `vggt` writes. Does nothing where it is there. Debian and Ubuntu; needs root or sudo.
set -euo pipefail

[ ! -x /usr/bin/chromium ] || exit 0
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
  echo "installing Chromium needs root: run this script as root, or install the package chromium yourself" >&2; exit 1; fi; }
command -v apt-get >/dev/null || { echo "no apt-get here: install Chromium as /usr/bin/chromium by hand" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
echo "installing Chromium" >&2
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
