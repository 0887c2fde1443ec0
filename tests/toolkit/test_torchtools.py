import random
import time

import numpy as np
import pytest
import torch
from dassl.utils import collect_env_info, count_num_param, set_random_seed
from torch import nn


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_seed_fixes_three_generators_and_zero_is_a_seed():
    set_random_seed(0)
    first = draws()
    assert first[0] == random.Random(0).random()
    set_random_seed(1)
    assert not set(draws()) & set(first)
    set_random_seed(0)
    assert draws() == first


def test_env_info_is_short_and_fast():
    start = time.perf_counter()
    info = collect_env_info()
    assert time.perf_counter() - start < 0.1
    assert [line.split(":")[0] for line in info.splitlines()] == [
        "python",
        "torch",
        "torchvision",
        "numpy",
        "device",
    ]
    assert torch.__version__ in info


def test_count_num_param():
    model = nn.Linear(3, 5)
    assert count_num_param(model) == 20
    assert count_num_param(params=[model.bias]) == 5
    with pytest.raises(ValueError, match="either"):
        count_num_param()
