#!/usr/bin/env bash
# Train on the first half of the classes, test on both; H is their harmonic mean.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="METHOD DATASET SHOTS [BACKBONE] [--plugin MODULE] [KEY VALUE ...]"
read_arguments "$@"
# refuses a method that does not transfer, before anything is trained
folder_of ${OPTIONS[@]+"${OPTIONS[@]}"} TRAINER.TRANSFER True > /dev/null
# apart from output/, for one table cannot hold results on halves and on all classes
folder="output_transfer/base2new/$(folder_of ${OPTIONS[@]+"${OPTIONS[@]}"})"
train --output-dir "$folder/base" ${OPTIONS[@]+"${OPTIONS[@]}"} DATASET.SUBSAMPLE_CLASSES base
train --eval-only --model-dir "$folder/base" --output-dir "$folder/new" ${OPTIONS[@]+"${OPTIONS[@]}"} \
  DATASET.SUBSAMPLE_CLASSES new TRAINER.TRANSFER True
"$PYTHON" "$ROOT/scripts/harmonic_mean.py" "$folder/base" "$folder/new"
