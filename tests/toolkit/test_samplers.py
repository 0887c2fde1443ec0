import random
from collections import Counter

import pytest
from dassl.data.datasets import Datum
from dassl.data.samplers import RandomClassSampler, build_sampler
from torch.utils.data import RandomSampler, SequentialSampler


def items(*counts):
    return [Datum(label=label) for label, count in enumerate(counts) for _ in range(count)]


def test_names():
    source = items(4, 4)
    assert list(build_sampler("SequentialSampler", source)) == list(range(8))
    assert isinstance(build_sampler("SequentialSampler", source), SequentialSampler)
    assert isinstance(build_sampler("RandomSampler", source), RandomSampler)
    assert sorted(build_sampler("RandomSampler", source)) == list(range(8))
    assert isinstance(build_sampler("RandomClassSampler", source, 4, 2), RandomClassSampler)
    with pytest.raises(ValueError, match="did you mean 'RandomSampler'"):
        build_sampler("RandomSample", source)


@pytest.mark.parametrize("counts", [(4, 4, 4), (9, 3, 2, 2), (1, 7, 5), (20, 1, 1)])
def test_class_sampler_fills_its_batches(counts):
    random.seed(1)
    source = items(*counts)
    sampler = RandomClassSampler(source, batch_size=4, n_ins=2)
    for _ in range(5):
        indices = list(sampler)
        assert len(indices) == len(sampler) > 0
        for start in range(0, len(indices), 4):
            labels = [source[i].label for i in indices[start : start + 4]]
            assert sorted(Counter(labels).values()) == [2, 2]
        big = [i for i in indices if counts[source[i].label] >= 2]
        assert len(set(big)) == len(big)


def test_class_sampler_errors():
    with pytest.raises(ValueError, match="BATCH_SIZE: 5 must be a multiple of N_INS 2"):
        RandomClassSampler(items(4, 4), batch_size=5, n_ins=2)
    with pytest.raises(ValueError, match="needs 3 classes, and there are 2"):
        RandomClassSampler(items(4, 4), batch_size=6, n_ins=2)
