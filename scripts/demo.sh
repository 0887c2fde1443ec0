#!/usr/bin/env bash
# Zero-shot CLIP and VT-CLIP on real handwritten digits, 1 to 16 shots, 3 seeds, then one table.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ROOT"

attended bash scripts/run.sh ZeroshotCLIP digits 16 > /dev/null
echo "zero-shot CLIP: done"
for shots in 1 2 4 8 16; do
    attended bash scripts/vtclip/main.sh digits "$shots" > /dev/null
    echo "VT-CLIP, shots $shots: done"
done
"$PYTHON" parse_test_res.py output/digits --table --rows shots --columns seeds,seconds,parameters
