import pytest
import torch
from dassl.config import get_cfg_default
from dassl.evaluation import build_evaluator
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torch.nn.functional import one_hot


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    return cfg


def evaluate(cfg, true, predicted, classes):
    evaluator = build_evaluator(cfg, lab2cname={i: f"c{i}" for i in range(classes)})
    evaluator.process(torch.zeros(1, classes), torch.zeros(1, dtype=torch.long))
    evaluator.reset()
    scores = one_hot(torch.tensor(predicted), classes).float()
    for start in range(0, len(true), 1000):
        part = slice(start, start + 1000)
        evaluator.process(scores[part], torch.tensor(true)[part])
    return evaluator.evaluate()


def test_printed_lines(cfg, capsys):
    results = evaluate(cfg, [0] * 3669, [0] * 3149 + [1] * 520, 2)
    assert capsys.readouterr().out.splitlines() == [
        "=> result",
        "* total: 3,669",
        "* correct: 3,149",
        "* accuracy: 85.8%",
        "* error: 14.2%",
        "* macro_f1: 92.4%",
    ]
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]


def test_values_against_sklearn(cfg):
    torch.manual_seed(0)
    true = torch.randint(0, 7, (500,)).tolist()
    predicted = torch.randint(0, 9, (500,)).tolist()  # two labels that never occur
    predicted[:200] = true[:200]
    results = evaluate(cfg, true, predicted, 9)
    f1 = f1_score(true, predicted, average="macro", labels=sorted(set(true)))
    assert results["accuracy"] == pytest.approx(100 * accuracy_score(true, predicted))
    assert results["error_rate"] == pytest.approx(100 - results["accuracy"])
    assert results["macro_f1"] == pytest.approx(100 * f1)
    assert all(type(value) is float for value in results.values())


def test_per_class(cfg, capsys):
    cfg.TEST.PER_CLASS_RESULT = True
    results = evaluate(cfg, [0, 0, 0, 0, 2, 2], [0, 0, 0, 1, 2, 0], 3)
    assert list(results)[-1] == "perclass_accuracy"
    assert results["perclass_accuracy"] == pytest.approx((75 + 50) / 2)
    assert capsys.readouterr().out.splitlines()[6:] == [
        "=> per-class result",
        "* class: 0 (c0)\ttotal: 4\tcorrect: 3\tacc: 75.0%",
        "* class: 2 (c2)\ttotal: 2\tcorrect: 1\tacc: 50.0%",
        "* average: 62.5%",
    ]


def test_confusion_matrix(cfg, tmp_path):
    cfg.TEST.COMPUTE_CMAT = True
    true, predicted = [0, 0, 1, 2], [0, 1, 1, 0]
    evaluate(cfg, true, predicted, 3)
    saved = torch.load(tmp_path / "out" / "cmat.pt", weights_only=True)
    expected = torch.from_numpy(confusion_matrix(true, predicted, normalize="true"))
    torch.testing.assert_close(saved, expected)


def test_nothing_and_unknown(cfg):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        build_evaluator(cfg).evaluate()
    cfg.TEST.EVALUATOR = "Clasification"
    with pytest.raises(ValueError, match="did you mean 'Classification'"):
        build_evaluator(cfg)
