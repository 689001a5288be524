"""``tools/demo.py``, shortened."""

from __future__ import annotations

import re

from tests.helpers.tools import ROOT, run_tool

OPTIONS = (
    'train_dataloader.dataset.num_samples=128',
    'train_dataloader.batch_size=32',
    'train_cfg.max_epochs=2',
)


def test_demo(tmp_path):
    process = run_tool('demo', '--work-dir', tmp_path, '--cfg-options', *OPTIONS, COLUMNS='200')
    assert process.returncode == 0, process.stderr
    output = process.stdout
    assert re.search(r'epoch 2/2 .* loss -?\d.* score kept -?\d.* of all -?\d', output)
    for label in ('before', 'after'):
        accuracy = re.search(rf'k-NN accuracy {label}\s+│ ([\d.]+) %', output)
        assert 0 <= float(accuracy[1]) <= 100
    assert re.search(r'lowest-IoU pair kept\s+│ [\d.]+% of 128 images .by chance 1', output)
    for label in ('log', 'checkpoint', 'picture'):
        path = ROOT / re.search(rf'^{label}: +(.*)$', output, re.MULTILINE)[1]
        assert path.stat().st_size > 1000
    # The log file has what the terminal leaves out.
    log = ROOT / re.search(r'^log: +(.*)$', output, re.MULTILINE)[1]
    assert 'hvs_score' not in output
    assert 'Saving checkpoint at 2 epochs' in log.read_text()
