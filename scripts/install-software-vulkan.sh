#!/usr/bin/env bash
# Installs Mesa's software Vulkan (lavapipe), which runs the engine where there is no GPU: version 25 or newer,
# because older ones lack dynamic array indexing and Dawn refuses them. Debian and Ubuntu; needs root or sudo.
# Debian 12 has it in backports, which is enabled by copying the entry that apt already uses.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
  echo "installing Mesa's software Vulkan needs root: run this script as root, or install mesa-vulkan-drivers >= 25 yourself" >&2; exit 1; fi; }
mesa_major() { dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null | sed 's/^[0-9]*://; s/\..*//'; }
candidate_major() { apt-cache policy mesa-vulkan-drivers | sed -n 's/.*Candidate: *\([0-9]*:\)\{0,1\}\([0-9]*\).*/\2/p'; }

if [ "$(mesa_major || true)" != "" ] && [ "$(mesa_major)" -ge 25 ]; then exit 0; fi
command -v apt-get >/dev/null || { echo "no apt-get here: install Mesa's software Vulkan (lavapipe, version 25 or newer) by hand" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
release=()
if [ "$(candidate_major)" -lt 25 ]; then
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  source_file=/etc/apt/sources.list.d/debian.sources
  [ -e "$source_file" ] || { echo "the Mesa packaged for $codename is older than 25 and no backports source could be derived" >&2; exit 1; }
  awk -v suite="$codename-backports" 'BEGIN { RS=""; ORS="\n\n" } /Suites:/ && !/-security/ { gsub(/Suites:[^\n]*/, "Suites: " suite); print; exit }' "$source_file" \
    | as_root tee "/etc/apt/sources.list.d/$codename-backports.sources" >/dev/null
  as_root apt-get update -qq
  release=(-t "$codename-backports")
fi
as_root apt-get install -y -qq --no-install-recommends "${release[@]}" mesa-vulkan-drivers libvulkan1 >/dev/null
