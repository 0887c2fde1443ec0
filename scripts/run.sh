#!/usr/bin/env bash
# Any method with seeds 1 to 3, and the mean.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]"
run_experiment "${1:-}" "${@:2}"
