"""Normalization of any number of channels."""

from __future__ import annotations

import pytest
import torch

from hvs_mm.models import ChannelPreprocessor


def test_every_channel_has_its_own_numbers():
    mean, std = [float(100 * i) for i in range(13)], [float(i + 1) for i in range(13)]
    inputs = torch.rand(2, 13, 4, 5) * 65535
    expected = (inputs - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    preprocess = ChannelPreprocessor(mean, std)
    for given in (inputs, [inputs, inputs]):
        found = preprocess({'inputs': given, 'data_samples': None})['inputs']
        for one in found if isinstance(found, list) else [found]:
            torch.testing.assert_close(one, expected)
    assert not preprocess.state_dict()


def test_a_channel_is_not_repeated():
    with pytest.raises(ValueError, match=r'images have 1 channels, but .* have 4 numbers'):
        ChannelPreprocessor([0.0] * 4, [1.0] * 4)({'inputs': [torch.zeros(1, 1, 2, 2)]})


@pytest.mark.parametrize(('mean', 'std', 'message'), [
    (0.5, [1.0], 'mean=0.5 must be a list'), ([], [], 'mean=.. must be a list'),
    ([1.0], [1.0, 2.0], 'mean has 1 numbers, std 2'), ([1.0], [0.0], 'must be above 0'),
    ([1.0], [float('nan')], 'must be a list of a number'),
])  # fmt: skip
def test_mistakes(mean, std, message):
    with pytest.raises(ValueError, match=message):
        ChannelPreprocessor(mean, std)
