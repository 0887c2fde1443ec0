#!/usr/bin/env bash
# A linear probe with seeds 1 to 3, and the mean.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="DATASET SHOTS [CFG] [KEY VALUE ...]"
run_experiment LinearProbe "$@"
