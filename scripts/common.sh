# What the run scripts share: interpreter, arguments, refusals. Sourced, not run.
# Results go below ./output and data is read from $DATA (./data), as with train.py itself.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export DATA="${DATA:-./data}"
if [[ -z "${PYTHON:-}" ]]; then
  PYTHON=python
  [[ -x "$ROOT/.venv/bin/python" ]] && PYTHON="$ROOT/.venv/bin/python"
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# refuse REASON: the reason, the usage line (USAGE names the arguments), exit code 2
refuse() {
  printf 'error: %s\nusage: bash %s %s\n' "$1" "$0" "$USAGE" >&2
  exit 2
}

# dataset_file NAME: the configuration of a dataset, by its name or its path
dataset_file() {
  local path="$ROOT/configs/datasets/$1.yaml" names="" known
  if [[ -f "$path" ]]; then echo "$path"; return; fi
  if [[ "$1" == *.yaml && -f "$1" ]]; then echo "$1"; return; fi
  for known in "$ROOT"/configs/datasets/*.yaml; do names+=" $(basename "$known" .yaml)"; done
  refuse "unknown dataset '$1'; known:$names"
}

# read_arguments METHOD DATASET SHOTS [BACKBONE] [OPTIONS ...]: sets RUN, the arguments of train.py,
# and OPTIONS, what comes after them (--plugin MODULE, KEY VALUE pairs)
read_arguments() {
  (($# > 2)) || refuse "too few arguments"
  [[ "$3" =~ ^(-1|[0-9]+)$ ]] || refuse "SHOTS is '$3', not a number of images per class"
  local file
  file="$(dataset_file "$2")"
  RUN=(--trainer "$1" --dataset-config-file "$file" --shots "$3")
  OPTIONS=("${@:4}")
  # an option starts with -- or has a dot in capitals (OPTIM.LR); anything else is the backbone
  if ((${#OPTIONS[@]})) && [[ ! "${OPTIONS[0]}" =~ ^(--|[A-Z_]+\.[A-Z]|SEED$|OUTPUT_DIR$) ]]; then
    RUN+=(--backbone "${OPTIONS[0]}")
    OPTIONS=("${OPTIONS[@]:1}")
  fi
}

# attended COMMAND ...: a command that a signal to this script ends too. Bash puts a signal off until
# a command in the foreground has ended, so this one is in the background; there it is deaf to
# Ctrl-C, and gets TERM in its place.
attended() {
  local child="" status=0 stopped=0
  trap 'stopped=130; end_child' INT
  trap 'stopped=143; end_child' TERM
  trap 'stopped=129; end_child' HUP
  "$@" <&0 &
  child=$!
  ((stopped == 0)) || end_child
  # a signal ends `wait`, and the command may still be saving
  while :; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2> /dev/null || break
  done
  trap - INT TERM HUP
  ((stopped == 0)) || exit "$stopped"
  return "$status"
}

end_child() {
  [[ -z "$child" ]] || kill -TERM "$child" 2> /dev/null || true
}

# train ...: train.py with seeds 1 to 3, the arguments in RUN and those given
train() {
  attended "$PYTHON" "$ROOT/train.py" "${RUN[@]}" --seeds 1-3 "$@"
}

# folder_of ...: where the results of train.py with these arguments go, without ./output
folder_of() {
  local folder
  folder="$("$PYTHON" "$ROOT/train.py" "${RUN[@]}" --dry-run "$@" | tail -n 1)"
  echo "${folder#output/}"
}
