"""``tools/demo.py``, shortened."""

from __future__ import annotations

import re

from hvs_mm.datasets import shapes
from tests.helpers.tools import ROOT, load_tool

OPTIONS = (
    'train_dataloader.dataset.num_samples=64',
    'train_dataloader.batch_size=16',
    'train_cfg.max_epochs=2',
)


def test_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    # No table may be wrapped.
    monkeypatch.setenv('COLUMNS', '200')
    # Queries of the k-NN evaluation.
    monkeypatch.setitem(shapes._NUM_SAMPLES, 'val', 64)
    load_tool('demo').main(['--work-dir', str(tmp_path), '--cfg-options', *OPTIONS])
    output = capsys.readouterr().out
    assert re.search(r'epoch 2/2 .* loss -?\d.* score kept -?\d.* of all -?\d', output)
    for label in ('before', 'after'):
        accuracy = re.search(rf'k-NN accuracy {label}\s+│ ([\d.]+) %', output)
        assert 0 <= float(accuracy[1]) <= 100
    assert re.search(r'lowest-IoU pair kept\s+│ [\d.]+% of 64 images .by chance 1', output)
    for label in ('log', 'checkpoint', 'picture'):
        path = ROOT / re.search(rf'^{label}: +(.*)$', output, re.MULTILINE)[1]
        assert path.stat().st_size > 1000
    # The log file has what the terminal leaves out.
    log = ROOT / re.search(r'^log: +(.*)$', output, re.MULTILINE)[1]
    assert 'hvs_score' not in output
    assert 'Saving checkpoint at 2 epochs' in log.read_text()
