from __future__ import annotations

from copy import deepcopy

from hvs_mm.engine import build_model
from tests.test_engine.test_checks.test_preflight import config


def test_a_model_is_built_as_a_runner_builds_it():
    """With the preprocessor of the config's top level; its own goes before that."""
    preprocessor = dict(type='SelfSupDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0] * 3)
    cfg = config(data_preprocessor=preprocessor)
    before = deepcopy(cfg.to_dict())
    assert build_model(cfg).data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert cfg.to_dict() == before
    cfg.model.data_preprocessor = dict(preprocessor, mean=[5.0] * 3)
    assert build_model(cfg).data_preprocessor.mean.flatten().tolist() == [5, 5, 5]
