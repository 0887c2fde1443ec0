# What all run scripts share: arguments, interpreter, one seed. Sourced, not run.
# Results go below ./output and data is read from $DATA (./data), as with train.py itself.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
DATA="${DATA:-./data}"
if [[ -z "${PYTHON:-}" ]]; then
  PYTHON=python
  [[ -x "$ROOT/.venv/bin/python" ]] && PYTHON="$ROOT/.venv/bin/python"
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# refuse REASON: the reason, the usage line (USAGE names the arguments), exit code 2
refuse() {
  printf '%s\nusage: bash %s %s\n' "$1" "$0" "$USAGE" >&2
  exit 2
}

# known KIND NAME FOLDER PATTERN: refuse a name that has no file or folder
known() {
  [[ -n "$2" && -e "$3/$2$4" ]] && return
  local path names=""
  for path in "$3"/*"$4"; do names+=" $(basename "$path" "$4")"; done
  refuse "error: unknown $1 '$2'; known:$names"
}

# check TRAINER DATASET SHOTS CFG
check() {
  known trainer "$1" "$ROOT/configs/trainers" ""
  known dataset "$2" "$ROOT/configs/datasets" .yaml
  [[ "$3" =~ ^(-1|[0-9]+)$ ]] || refuse "error: SHOTS is '$3', not a number of images a class"
  known configuration "$4" "$ROOT/configs/trainers/$1" .yaml
}

# method_options TRAINER DATASET SHOTS: what a method's authors vary by dataset or shots
method_options() {
  case "$1:$2:$3" in
    CoOp:imagenet:* | CoOp:*:1 | VTCLIP:imagenet:* | VTCLIP:*:1) echo OPTIM.MAX_EPOCH 50 ;;
    CoOp:*:2 | CoOp:*:4 | VTCLIP:*:2 | VTCLIP:*:4) echo OPTIM.MAX_EPOCH 100 ;;
    TipAdapterF:eurosat:*) echo OPTIM.MAX_EPOCH 100 ;;
  esac
}

# run_seed TRAINER DATASET SHOTS CFG SEED FOLDER MODEL_DIR [KEY VALUE ...]
# trains, or evaluates what lies in MODEL_DIR where that is not empty
run_seed() {
  local trainer="$1" dataset="$2" shots="$3" cfg="$4" seed="$5" folder="$6" model_dir="$7"
  shift 7
  # shellcheck disable=SC2046  # the options of the method are words
  "$PYTHON" "$ROOT/train.py" \
    --root "$DATA" \
    --seed "$seed" \
    --trainer "$trainer" \
    --dataset-config-file "$ROOT/configs/datasets/$dataset.yaml" \
    --config-file "$ROOT/configs/trainers/$trainer/$cfg.yaml" \
    --output-dir "$folder" \
    ${model_dir:+--eval-only --model-dir "$model_dir"} \
    DATASET.NUM_SHOTS "$shots" \
    $(method_options "$trainer" "$dataset" "$shots") \
    "$@"
}

# run_missing ...: run_seed, unless FOLDER holds the result of a finished run
run_missing() {
  if "$PYTHON" -m vtclip.results "$6"; then
    echo "$6: has a result already; remove the folder to run it again"
  else
    run_seed "$@"
  fi
}

# folder_of TRAINER DATASET SHOTS CFG: where the seeds of an experiment lie
folder_of() {
  echo "output/$2/$1/$4_$3shots"
}

# run_experiment TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: seeds 1 to 3, then their mean
run_experiment() {
  local trainer="$1" dataset="${2:-}" shots="${3:-}" cfg="${4:-tiny}" seed folder
  (($# > 2)) || refuse "error: too few arguments"
  check "$trainer" "$dataset" "$shots" "$cfg"
  folder="$(folder_of "$trainer" "$dataset" "$shots" "$cfg")"
  for seed in 1 2 3; do
    run_missing "$trainer" "$dataset" "$shots" "$cfg" "$seed" "$folder/seed$seed" "" "${@:5}"
  done
  "$PYTHON" "$ROOT/parse_test_res.py" "$folder"
}
