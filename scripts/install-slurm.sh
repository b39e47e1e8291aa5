#!/usr/bin/env bash
# Installs Slurm for the test that runs a small cluster of its own, unless it is there: Debian's and Ubuntu's packages, as root or with sudo.
# Nothing is configured and no service is started by this script.
set -euo pipefail

missing=()
for program in munged slurmctld slurmd srun; do
  [ -x "$(PATH="$PATH:/usr/sbin:/sbin" command -v "$program")" ] || missing+=("$program")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
  echo "installing Slurm needs root: run this script as root, or install munge, slurmctld, slurmd and slurm-client yourself" >&2; exit 1; fi; }
command -v apt-get >/dev/null || { echo "no apt-get here: install munge, slurmctld, slurmd and slurm-client by hand" >&2; exit 1; }
echo "installing Slurm" >&2
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends munge slurmctld slurmd slurm-client >/dev/null
