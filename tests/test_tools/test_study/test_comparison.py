"""Arms that differ in more than a study says."""

from __future__ import annotations

import pytest

from hvs_mm.engine import merge_options
from hvs_study.comparison import check_arms
from hvs_study.config import resolve_config
from hvs_study.plan import read_study
from hvs_study.schema import StudyError
from tests.helpers.studies import rewritten, write_study
from tests.helpers.tools import ROOT

LR = {'optim_wrapper.optimizer.lr': 3}


@pytest.fixture
def configs(tmp_path):
    study = read_study(str(write_study(tmp_path)), ROOT)
    return [resolve_config(study, run, {}) for run in study.runs]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (LR, r'b and a differ in optim_wrapper\.optimizer\.lr, 3 and 0\.1, which the study does'),
        ({'model.algorithm.backbone.stem_channels': 3}, r'in model\.backbone\.stem_channels, 3'),
        ({'train_dataloader.batch_size': 3}, r'in train_dataloader\.batch_size, 3 and 8'),
        (
            {'train_dataloader.dataset.pipeline.0.transforms.0.0.scale': 3},
            r'pipeline\.0\.transforms\.0\.0\.scale, 3 and 32',
        ),
    ],
)
def test_what_no_arm_says(configs, change, message):
    baseline, hardest = configs
    check_arms('b', hardest, 'a', baseline)
    merge_options(hardest, change)
    with pytest.raises(StudyError, match=message):
        check_arms('b', hardest, 'a', baseline)


def test_what_an_arm_says(tmp_path):
    path = write_study(tmp_path)
    rewritten(
        path,
        "hardest=dict(config='selection'",
        f"hardest=dict(config='selection', cfg_options={LR}",
    )
    study = read_study(str(path), ROOT)
    baseline, hardest = (resolve_config(study, run, {}) for run in study.runs)
    assert hardest.optim_wrapper.optimizer.lr == 3
    check_arms('b', hardest, 'a', baseline)
