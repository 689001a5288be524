"""The information of outputs, against hand-computed cases and loops in double precision."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from hvs_mm.selection.output_sums import OutputSums


def by_hand(logits, temperature):
    """Entropy of the mean softmax minus the mean entropy, of (B, S, K), with Python's floats."""
    outputs = []
    for row in logits.flatten(0, 1).double().tolist():
        weights = [exp((x - max(row)) / temperature) for x in row]
        outputs.append([w / sum(weights) for w in weights])

    def entropy(p):
        return -sum(x * log(x) for x in p if x > 0)

    mean = [sum(column) / len(outputs) for column in zip(*outputs)]
    return entropy(mean) - sum(map(entropy, outputs)) / len(outputs)


@pytest.mark.parametrize(
    ('logits', 'expected'),
    [
        # All uniform, and all the same.
        (torch.zeros(3, 2, 4), 0),
        (torch.tensor([0.0, 1, 2]).expand(3, 2, 3), 0),
        # Each of 3 outputs has a prototype of its own.
        (100 * torch.eye(3)[None], log(3)),
        # Two have one of two prototypes, two say nothing.
        (torch.tensor([[[100.0, 0], [0, 100]], [[0, 0], [0, 0]]]), log(2) / 2),
        # Only views of an image differ, not images.
        (100 * torch.eye(2).expand(5, 2, 2), log(2)),
    ],
)
def test_cases_by_hand(logits, expected):
    found = OutputSums.of_logits(logits, 1.0).information()
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('scale', [0.001, 0.1, 1, 30])
@pytest.mark.parametrize('temperature', [0.1, 1.0])
def test_random_logits(scale, temperature):
    logits = scale * torch.randn(4, 3, 7, dtype=torch.float64)
    expected = by_hand(logits, temperature)
    found = OutputSums.of_logits(logits, temperature).information()
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    found = OutputSums.of_logits(logits.float(), temperature).information()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=2e-6)


def test_half_precision_and_autocast():
    logits = torch.randn(4, 3, 50).half()
    expected = by_hand(logits, 0.1)
    with torch.autocast('cpu', torch.bfloat16):
        sums = OutputSums.of_logits(logits, 0.1)
    assert {part.dtype for part in sums} == {torch.float32}
    assert sums.information().item() == pytest.approx(expected, rel=1e-4)


def test_batches_of_other_sizes_add_up():
    logits = torch.randn(9, 3, 7)
    parts = [OutputSums.of_logits(part, 0.1) for part in logits.split([2, 6, 1])]
    together = OutputSums(*map(sum, zip(*parts)))
    assert together.count.item() == 27
    expected = by_hand(logits, 0.1)
    assert together.information().item() == pytest.approx(expected, rel=1e-4)
    assert OutputSums.of(
        (logits / 0.1).softmax(-1).flatten(0, 1)
    ).information().item() == pytest.approx(expected, rel=1e-4)
