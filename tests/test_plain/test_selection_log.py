"""The log of plain torch has the statistics of the records, and the reports read it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hvs_mm import HardViews, SelectionLog, losses
from hvs_mm.reports import read_runs, selection_html, selection_series
from hvs_mm.selection import image_statistics
from hvs_mm.visualization import draw_record
from tests.helpers.tiny import random_views


def select(batch_size):
    """Views of a batch, their record and boxes."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8))
    views = random_views(batch_size=batch_size, size=16)
    corner = 20 * torch.rand(batch_size, 4, 2)
    boxes = torch.cat([corner, corner + 5 + 10 * torch.rand(batch_size, 4, 2)], -1)
    return views, HardViews(losses.BYOL())(network, views)[1], boxes


def test_the_report_has_the_means_over_all_images(tmp_path):
    log, found = SelectionLog(tmp_path / 'run'), []
    for batch_size in (6, 3):
        views, record, boxes = select(batch_size)
        log.add(record, boxes)
        found.append(image_statistics(record, boxes))
    images = [torch.zeros(40, 40, 3, dtype=torch.uint8).numpy()] * 2
    means = log.write(epoch=1, loss=0.75, panel=draw_record(record, images, views, boxes))
    assert means['images'] == 9
    for name in ('iou_kept', 'lowest_iou', 'score_gap', 'hardness'):
        expected = torch.cat([one[name] for one in found]).mean()
        assert means[name] == pytest.approx(expected.item(), rel=1e-5)

    # Nothing of the first epoch is left for the second.
    views, record, boxes = select(4)
    log.add(record, boxes)
    assert log.write(epoch=2)['images'] == 4
    (run,) = read_runs([tmp_path / 'run'])
    first, second = selection_series(run)
    assert (first.position, first.images, second.images) == (1, 9, 4)
    assert first.means['iou_kept'] == means['iou_kept']
    assert run.loss == 0.75
    page = selection_html([run])
    assert f'{means["iou_kept"]:.3f}' not in page  # of an epoch before the last
    assert f'{second.means["iou_kept"]:.3f}' in page
    assert 'run, after epoch 1' in page


def test_unknown_boxes_leave_what_is_measured_by_scores(tmp_path):
    log = SelectionLog(tmp_path)
    record, boxes = select(6)[1:]
    boxes[2:, 1] = torch.nan
    log.add(record, boxes)
    known = image_statistics(record, boxes)['iou_kept'][:2].mean()
    means = log.write(epoch=1)
    assert means['iou_kept'] == pytest.approx(known.item(), rel=1e-5)
    log.add(record, torch.full_like(boxes, torch.nan))
    means = log.write(epoch=2)
    assert means['hardness'] == 1
    assert not [name for name in means if 'iou' in name]
    assert [period.images for period in selection_series(*read_runs([tmp_path]))] == [6, 6]


def test_bad_input(tmp_path):
    log = SelectionLog(tmp_path)
    _, record, boxes = select(6)
    with pytest.raises(ValueError, match=r'\(6, 3, 4\), expected \(B, S, 4\) = \(6, 4, 4\)'):
        log.add(record, boxes[:, :3])
    log.add(record, boxes)
    with pytest.raises(ValueError, match=r'other candidates or statistics .* call write'):
        log.add(record, boxes, colors=torch.zeros(6, 4, 7))
    assert log.write(epoch=1)['images'] == 6
    assert log.write(epoch=2) == {}
