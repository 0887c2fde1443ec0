#!/usr/bin/env bash
# Evaluate the seeds that main.sh trained once more, without training.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="DATASET SHOTS [CFG] [KEY VALUE ...]"
trainer="${TRAINER:-VTCLIP}" dataset="${1:-}" shots="${2:-}" cfg="${3:-tiny}"
check "$trainer" "$dataset" "$shots" "$cfg"
trained="$(folder_of "$trainer" "$dataset" "$shots" "$cfg")"
[[ -d "$trained" ]] || refuse "error: $trained: nothing is trained yet"
evaluated="output/evaluation/${trained#output/}"
for folder in "$trained"/seed*; do
  seed="${folder##*/seed}"
  run_seed "$trainer" "$dataset" "$shots" "$cfg" "$seed" "$evaluated/seed$seed" "$folder" "${@:4}"
done
"$PYTHON" "$ROOT/parse_test_res.py" "$evaluated" --test-log
