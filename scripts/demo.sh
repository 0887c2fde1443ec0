#!/usr/bin/env bash
# Zero-shot CLIP and VT-CLIP on real handwritten digits, 1 to 16 shots, 3 seeds, then one table.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ROOT"

attended "$PYTHON" sweep.py --methods ZeroshotCLIP,VTCLIP --datasets digits --backbone tiny > /dev/null
"$PYTHON" parse_test_res.py output/digits --table --rows shots --columns seeds,seconds,parameters
