#!/usr/bin/env bash
# Any method with seeds 1 to 3, and the mean.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="METHOD DATASET SHOTS [BACKBONE] [--plugin MODULE] [KEY VALUE ...]"
read_arguments "$@"
train ${OPTIONS[@]+"${OPTIONS[@]}"}
