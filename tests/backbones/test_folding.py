"""Folded networks against what they were."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from vtclip.backbones.folding import fold_batch_norms


class Block(nn.Module):
    """Convolutions with and without a norm of their own, as in CLIP's ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.relu, self.conv2 = nn.ReLU(), nn.Conv2d(4, 4, 1)
        self.pool, self.bn2 = nn.AvgPool2d(2), nn.BatchNorm2d(4)
        layers = {
            "-1": nn.AvgPool2d(2),
            "0": nn.Conv2d(4, 2, 1, bias=False),
            "1": nn.BatchNorm2d(2),
        }
        self.downsample = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.downsample(self.bn2(self.pool(self.conv2(x))))


def test_a_folded_network_says_the_same() -> None:
    torch.manual_seed(0)
    network = Block().eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    folded = copy.deepcopy(network)
    fold_batch_norms(folded)
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(folded(images), network(images), atol=1e-5, rtol=1e-5)


def test_only_norms_right_after_a_convolution_are_folded() -> None:
    network = Block()
    fold_batch_norms(network)
    assert isinstance(network.bn1, nn.Identity)
    assert isinstance(network.downsample[2], nn.Identity)
    assert isinstance(network.bn2, nn.BatchNorm2d)
