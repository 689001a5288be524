from __future__ import annotations

import pytest

from hvs_mm.apis import get_config


def test_own_configs():
    cfg = get_config('hvs_mm::hvs_simsiam_100e.py')
    assert cfg.model.type == 'HVSAlgorithm'
    assert cfg.model.algorithm.type == 'SimSiam'
    assert get_config('hvs_mm::demo/hvs_simsiam.py').train_cfg.max_epochs == 8


def test_configs_of_other_packages():
    name = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'
    assert get_config(name).model.type == 'SimSiam'


def test_unknown_config():
    with pytest.raises(FileNotFoundError, match=r'hvs_simclr_200e\.py'):
        get_config('hvs_mm::nothing.py')
