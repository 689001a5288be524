"""``tools/train.py`` when its work dir is full or removed."""

from __future__ import annotations

import resource
import shutil

import pytest
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from tests.helpers.tools import ROOT
from tests.test_tools.test_train import DEMO, SMALL, train


@HOOKS.register_module()
class DiskFault(Hook):
    """At the third step the disk is full, or the work dir is removed."""

    def __init__(self, fault):
        self.fault = fault

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 2 and self.fault == 'full':
            # No file may grow beyond this.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        elif runner.iter == 2:
            shutil.rmtree(runner.work_dir)


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        (
            'full',
            r'/run cannot be written \(File too large\)\. The last good checkpoint is .*iter_2',
        ),
        ('gone', r'\.json cannot be written \(No such file .*\. The last checkpoint was .*iter_2'),
    ],
    ids=['full', 'gone'],
)
def test_a_work_dir_that_is_lost(tmp_path, fault, message, capsys):
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{ROOT / DEMO}'\ncustom_hooks = [dict(type='DiskFault', fault='{fault}')]\n"
    )
    options = [*SMALL, 'train_dataloader.batch_size=2', 'default_hooks.health=None']
    options += [f'default_hooks.checkpoint.{option}' for option in ('by_epoch=False', 'interval=1')]
    (tmp_path / 'run').mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(SystemExit, match=f'^error: .*{message}.* --resume') as error:
            train(tmp_path / 'run', tmp_path / 'config.py', options=options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '\n' not in error.value.code
    assert 'Traceback' not in capsys.readouterr().err
