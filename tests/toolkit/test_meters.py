import torch
from dassl.utils import AverageMeter, MetricMeter


def test_average_is_weighted_by_n():
    meter = AverageMeter()
    meter.update(1.0, n=3)
    meter.update(torch.tensor([5.0]))
    assert (meter.val, meter.sum, meter.count, meter.avg) == (5.0, 8.0, 4, 2.0)
    meter.reset()
    assert (meter.avg, meter.count) == (0.0, 0)


def test_text_of_metric_meter():
    meter = MetricMeter()
    meter.update({"loss": 1.0, "acc": 50})
    meter.update({"loss": torch.tensor(2.0), "acc": 100})
    assert str(meter) == "loss 2.0000 (1.5000) acc 100.0000 (75.0000)"
