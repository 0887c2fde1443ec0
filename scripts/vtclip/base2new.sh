#!/usr/bin/env bash
# Train on the first half of the classes, test on both; H is their harmonic mean.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="DATASET SHOTS [CFG] [KEY VALUE ...]"
trainer="${TRAINER:-VTCLIP}" dataset="${1:-}" shots="${2:-}" cfg="${3:-tiny}"
check "$trainer" "$dataset" "$shots" "$cfg"
run=("$trainer" "$dataset" "$shots" "$cfg")
# apart from output/, for one table cannot hold results on halves and on all classes
folder="output_transfer/base2new/$dataset/$trainer/${cfg}_${shots}shots"
for seed in 1 2 3; do
  base="$folder/base/seed$seed"
  run_missing "${run[@]}" "$seed" "$base" "" "${@:4}" DATASET.SUBSAMPLE_CLASSES base
  run_missing "${run[@]}" "$seed" "$folder/new/seed$seed" "$base" "${@:4}" \
    DATASET.SUBSAMPLE_CLASSES new TRAINER.TRANSFER True
done
"$PYTHON" "$ROOT/scripts/harmonic_mean.py" "$folder/base" "$folder/new"
