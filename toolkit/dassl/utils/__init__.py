from typing import TYPE_CHECKING

from dassl._lazy import lazy_names
from dassl.utils.files import (
    check_isfile,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    tolist_if_not,
    write_json,
)
from dassl.utils.logger import setup_logger
from dassl.utils.meters import AverageMeter, MetricMeter
from dassl.utils.registry import Registry, check_availability

if TYPE_CHECKING:
    from dassl.utils.checkpoint import (
        load_checkpoint,
        load_pretrained_weights,
        resume_from_checkpoint,
        save_checkpoint,
    )
    from dassl.utils.images import read_image
    from dassl.utils.torchtools import collect_env_info, count_num_param, set_random_seed

__all__ = [
    "AverageMeter",
    "MetricMeter",
    "Registry",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "count_num_param",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_random_seed",
    "setup_logger",
    "tolist_if_not",
    "write_json",
]

# torch and pillow take seconds to import; who wants a registry should not wait for them.
__getattr__ = lazy_names(
    __name__,
    {
        "collect_env_info": "torchtools",
        "count_num_param": "torchtools",
        "load_checkpoint": "checkpoint",
        "load_pretrained_weights": "checkpoint",
        "read_image": "images",
        "resume_from_checkpoint": "checkpoint",
        "save_checkpoint": "checkpoint",
        "set_random_seed": "torchtools",
    },
)
