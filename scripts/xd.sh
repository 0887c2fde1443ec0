#!/usr/bin/env bash
# Train on one dataset, test on others (cross-dataset).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
USAGE="METHOD SOURCE SHOTS BACKBONE TARGET [TARGET ...] [--plugin MODULE] [KEY VALUE ...]"
(($# > 4)) || refuse "too few arguments"
read_arguments "${@:1:4}"
shift 4
targets=()
# options start with -- or have a dot in capitals; names of datasets do neither
while (($#)) && [[ ! "$1" =~ ^(--|[A-Z_]+\.[A-Z]|SEED$) ]]; do
  dataset_file "$1" > /dev/null
  targets+=("$1")
  shift
done
((${#targets[@]})) || refuse "no TARGET is named"
# refuses a method that does not transfer, before anything is trained
folder_of "$@" TRAINER.TRANSFER True > /dev/null
trained="$(folder_of "$@")"
train "$@"
for target in "${targets[@]}"; do
  file="$(dataset_file "$target")"
  train --eval-only --model-dir "output/$trained" --output-dir "output_transfer/xd/$target/$trained" \
    --dataset-config-file "$file" "$@" TRAINER.TRANSFER True
done
