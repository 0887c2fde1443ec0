import subprocess
import sys

import pytest
from dassl.config import clean_cfg, get_cfg_default
from yacs.config import CfgNode

DEFAULTS = {
    "VERSION": 1,
    "OUTPUT_DIR": "./output",
    "RESUME": "",
    "SEED": -1,
    "USE_CUDA": True,
    "VERBOSE": True,
    "INPUT": {
        "SIZE": (224, 224),
        "INTERPOLATION": "bilinear",
        "TRANSFORMS": (),
        "NO_TRANSFORM": False,
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "CROP_PADDING": 4,
        "RRCROP_SCALE": (0.08, 1.0),
        "COLORJITTER_B": 0.4,
        "COLORJITTER_C": 0.4,
        "COLORJITTER_S": 0.4,
        "COLORJITTER_H": 0.1,
        "RGS_P": 0.2,
        "GB_P": 0.5,
        "GB_K": 21,
        "GN_MEAN": 0.0,
        "GN_STD": 0.15,
        "RANDAUGMENT_N": 2,
        "RANDAUGMENT_M": 10,
        "CUTOUT_N": 1,
        "CUTOUT_LEN": 16,
    },
    "DATASET": {
        "ROOT": "",
        "NAME": "",
        "SOURCE_DOMAINS": (),
        "TARGET_DOMAINS": (),
        "NUM_LABELED": -1,
        "NUM_SHOTS": -1,
        "VAL_PERCENT": 0.1,
        "ALL_AS_UNLABELED": False,
    },
    "DATALOADER": {
        "NUM_WORKERS": 4,
        "K_TRANSFORMS": 1,
        "RETURN_IMG0": False,
        "TRAIN_X": {"SAMPLER": "RandomSampler", "BATCH_SIZE": 32, "N_DOMAIN": 0, "N_INS": 16},
        "TRAIN_U": {
            "SAME_AS_X": True,
            "SAMPLER": "RandomSampler",
            "BATCH_SIZE": 32,
            "N_DOMAIN": 0,
            "N_INS": 16,
        },
        "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
    },
    "MODEL": {
        "INIT_WEIGHTS": "",
        "BACKBONE": {"NAME": "", "PRETRAINED": True},
        "HEAD": {
            "NAME": "",
            "HIDDEN_LAYERS": (),
            "ACTIVATION": "relu",
            "BN": True,
            "DROPOUT": 0.0,
        },
    },
    "OPTIM": {
        "NAME": "adam",
        "LR": 3e-4,
        "WEIGHT_DECAY": 5e-4,
        "MOMENTUM": 0.9,
        "SGD_DAMPNING": 0,
        "SGD_NESTEROV": False,
        "RMSPROP_ALPHA": 0.99,
        "ADAM_BETA1": 0.9,
        "ADAM_BETA2": 0.999,
        "STAGED_LR": False,
        "NEW_LAYERS": (),
        "BASE_LR_MULT": 0.1,
        "LR_SCHEDULER": "single_step",
        "STEPSIZE": (-1,),
        "GAMMA": 0.1,
        "MAX_EPOCH": 10,
        "WARMUP_EPOCH": -1,
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,
        "WARMUP_MIN_LR": 1e-5,
        "WARMUP_RECOUNT": True,
    },
    "TRAIN": {"CHECKPOINT_FREQ": 0, "PRINT_FREQ": 10, "COUNT_ITER": "train_x"},
    "TEST": {
        "EVALUATOR": "Classification",
        "PER_CLASS_RESULT": False,
        "COMPUTE_CMAT": False,
        "NO_TEST": False,
        "SPLIT": "test",
        "FINAL_MODEL": "last_step",
    },
    "TRAINER": {"NAME": ""},
}


def as_dict(node):
    return {k: as_dict(v) if isinstance(v, CfgNode) else v for k, v in node.items()}


def test_keys_and_defaults():
    assert as_dict(get_cfg_default()) == DEFAULTS


def test_each_call_gives_a_tree_of_its_own():
    get_cfg_default().DATASET.ROOT = "elsewhere"
    assert get_cfg_default().DATASET.ROOT == ""


def test_clean_cfg_keeps_name_and_own_node():
    cfg = get_cfg_default()
    cfg.TRAINER.NAME = "VTClip"
    cfg.TRAINER.VTCLIP = CfgNode({"ALPHA": 1.0})
    cfg.TRAINER.COOP = CfgNode({"N_CTX": 16})
    clean_cfg(cfg, "VTClip")
    assert as_dict(cfg.TRAINER) == {"NAME": "VTClip", "VTCLIP": {"ALPHA": 1.0}}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from dassl.config import get_cfg_default", {"torch", "torchvision", "sklearn", "PIL"}),
        ("from dassl.utils import Registry, setup_logger", {"torch", "torchvision", "sklearn"}),
        ("from dassl.data.datasets import Datum, DatasetBase", {"torch", "torchvision"}),
    ],
)
def test_imports_stay_light(statement, unwanted):
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unwanted & set(run.stdout.split())
