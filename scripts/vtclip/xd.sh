#!/usr/bin/env bash
# Train on one dataset, test on others (cross-dataset).
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="SOURCE SHOTS CFG TARGET [TARGET ...] [KEY VALUE ...]"
trainer="${TRAINER:-VTCLIP}" origin="${1:-}" shots="${2:-}" cfg="${3:-}"
check "$trainer" "$origin" "$shots" "$cfg"
shift 3
targets=()
# configuration keys have a dot, names of datasets have none
while (($#)) && [[ "$1" != *.* ]]; do
  known dataset "$1" "$ROOT/configs/datasets" .yaml
  targets+=("$1")
  shift
done
((${#targets[@]})) || refuse "error: no TARGET is named"
trained="$(folder_of "$trainer" "$origin" "$shots" "$cfg")"
for seed in 1 2 3; do
  run_missing "$trainer" "$origin" "$shots" "$cfg" "$seed" "$trained/seed$seed" "" "$@"
done
for target in "${targets[@]}"; do
  folder="output_transfer/xd/$target/$trainer/${origin}_${cfg}_${shots}shots"
  for seed in 1 2 3; do
    run_missing "$trainer" "$target" "$shots" "$cfg" "$seed" "$folder/seed$seed" \
      "$trained/seed$seed" "$@" TRAINER.TRANSFER True
  done
  "$PYTHON" "$ROOT/parse_test_res.py" "$folder" --test-log
done
