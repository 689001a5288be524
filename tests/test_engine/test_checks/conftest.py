from __future__ import annotations

import pytest

from tests.helpers.hostile_images import plain_images, write
from tests.helpers.tiny_classifier import build_backbone, save_backbone, write_folders
from tests.helpers.tiny_dino import RESNET


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / 'data/one', plain_images(4))
    write(tmp_path / 'data/two', plain_images(5, 10))
    return tmp_path / 'data'


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path / 'data')


@pytest.fixture
def checkpoint(tmp_path):
    return save_backbone(tmp_path / 'backbone.pth', build_backbone(RESNET))
