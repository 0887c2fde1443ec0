import torch
from dassl.metrics import compute_accuracy


def test_top_1_and_top_2():
    output = torch.tensor([[3.0, 2, 1], [1, 2, 3], [2, 3, 1], [1, 3, 2]])
    target = torch.tensor([0, 1, 2, 1])
    top1, top2 = compute_accuracy(output, target, topk=(1, 2))
    assert (top1.shape, top1.item(), top2.item()) == ((1,), 50.0, 75.0)
    assert compute_accuracy(output, target)[0].item() == 50.0
