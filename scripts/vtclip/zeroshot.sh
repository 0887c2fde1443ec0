#!/usr/bin/env bash
# Zero-shot CLIP beside VT-CLIP; one run, for it looks at no shots.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="DATASET [CFG] [KEY VALUE ...]"
dataset="${1:-}" cfg="${2:-tiny}"
check ZeroshotCLIP "$dataset" 0 "$cfg"
folder="$(folder_of ZeroshotCLIP "$dataset" 0 "$cfg")"
run_missing ZeroshotCLIP "$dataset" 0 "$cfg" 1 "$folder/seed1" "" "${@:3}"
"$PYTHON" "$ROOT/parse_test_res.py" "$folder"
