from __future__ import annotations

import pytest
from mmengine.config import ConfigDict

from hvs_mm.datasets import PackViews
from hvs_mm.engine.checks.preflight import check_loader
from hvs_mm.utils.class_name import class_name
from tests.helpers.tiny import build_hvs
from tests.test_engine.test_checks.test_preflight import config


@pytest.mark.parametrize(
    'kind', ['PackViews', 'mmpretrain.PackViews', 'hvs_mm.datasets.PackViews', PackViews]
)
def test_every_spelling(kind):
    assert class_name(ConfigDict(type=kind)) == 'PackViews'


def test_others():
    assert class_name(PackViews()) == 'PackViews'
    assert class_name({}) == class_name({'type': None}) == ''


def test_a_check_that_knew_one_spelling():
    cfg = config()
    step = dict(type='mmpretrain.CandidateViews', num_views=7, transforms=[])
    cfg.train_dataloader.dataset.pipeline = [step]
    with pytest.raises(ValueError, match=r'num_views=\[7\]: the loader gives 7 views'):
        check_loader(cfg, build_hvs('SimSiam'))
