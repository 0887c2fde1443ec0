"""Wrong values of the configuration are told in one line that begins with the key."""

import pytest
from dassl.engine import build_trainer


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("OPTIM.NAME", "sgdd"),
        ("OPTIM.LR", -1.0),
        ("OPTIM.MAX_EPOCH", -1),
        ("OPTIM.LR_SCHEDULER", "cosin"),
        ("OPTIM.WARMUP_TYPE", "quadratic"),
        ("DATALOADER.TRAIN_X.SAMPLER", "RandomSampl"),
        ("DATALOADER.TRAIN_X.BATCH_SIZE", 0),
        ("DATALOADER.TEST.SAMPLER", "nothing"),
        ("DATALOADER.NUM_WORKERS", -1),
        ("DATALOADER.K_TRANSFORMS", 0),
        ("INPUT.INTERPOLATION", "bicubi"),
        ("INPUT.TRANSFORMS", ("normalise",)),
        ("INPUT.GB_K", 4),
        ("INPUT.SIZE", (0, 8)),
        ("TEST.EVALUATOR", "Classifier"),
        ("TEST.SPLIT", "tset"),
        ("TEST.FINAL_MODEL", "best"),
        ("TRAIN.PRINT_FREQ", 0),
        ("TRAINER.NAME", "Colour"),
        ("DATASET.NAME", "Colour"),
    ],
)
def test_the_message_begins_with_the_key(cfg, key, value):
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError) as caught:
        build_trainer(cfg)
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert "\n" not in message
    shown = value[0] if isinstance(value, tuple) else value
    assert str(shown) in message
