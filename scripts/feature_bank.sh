#!/usr/bin/env bash
# Methods that need no pixels on a file of features, 1 to 16 shots; writes docs/feature_bank.md.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="FILE"
file="${1:-}"
[[ -f "$file" ]] || refuse "no file of features '$file'"
bank=(DATASET.FEATURE_BANK "$file")
attended bash "$ROOT/scripts/vtclip/zeroshot.sh" feature_bank "${bank[@]}"
for method in TipAdapter TipAdapterF CLIPAdapter LinearProbe; do
  for shots in 1 2 4 8 16; do
    attended bash "$ROOT/scripts/run.sh" "$method" feature_bank "$shots" "${bank[@]}"
  done
done
tuned="$ROOT/configs/trainers/CLIPAdapter/tuned.yaml"
for shots in 1 2 4 8 16; do
  attended bash "$ROOT/scripts/run.sh" CLIPAdapter feature_bank "$shots" --config-file "$tuned" "${bank[@]}"
done
read_arguments ZeroshotCLIP feature_bank 0 "${bank[@]}"
results="output/$(folder_of ${OPTIONS[@]+"${OPTIONS[@]}"} | cut -d / -f 1)"
page="$ROOT/docs/feature_bank.md"
cat > "$page.new" <<EOF
# Methods on a file of features

\`DATASET.NAME FeatureBank\` puts a file of features (.npz or .safetensors, see
\`datasets/bank_file.py\`) in the place of images, for every method that needs neither pixels nor the
text encoder. This page is written by

    bash scripts/feature_bank.sh $(basename "$file")

The file holds one list of images per shot count; seeds differ in the validation images that choose
hyper-parameters (at most 4 per class) and in what is drawn in training. It has one view per image, so
caches and training see no augmentation. A method runs by its authors' recipe ([rivals](rivals.md)),
unless its row names another. Each row is selected on validation or not at all; few validation images
leave many values equal, and what they choose may lie below the best.

EOF
"$PYTHON" "$ROOT/parse_test_res.py" "$results" --table --rows shots --format markdown \
    --columns seeds,seconds,parameters >> "$page.new"
mv "$page.new" "$page"
