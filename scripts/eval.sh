#!/usr/bin/env bash
# Evaluate the seeds that run.sh trained once more, without training.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="METHOD DATASET SHOTS [BACKBONE] [--plugin MODULE] [KEY VALUE ...]"
read_arguments "$@"
train --eval-only ${OPTIONS[@]+"${OPTIONS[@]}"}
