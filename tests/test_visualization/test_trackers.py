"""TensorBoard, MLflow and Weights & Biases, each started by a run and read back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.test_engine.test_hooks.test_selection_stats_hook import simsiam, train

HOOKS = [
    dict(type='SelectionStatsHook', interval=1),
    dict(type='SelectionPanelHook', interval=1, num_images=1),
]
LOGGED = ('loss', 'selection/iou_kept')

pytestmark = pytest.mark.slow


def run(work_dir: Path, backend: dict[str, Any]) -> tuple[dict[str, list[float]], np.ndarray]:
    """Train for 3 steps.

    Returns:
        What MMEngine's own log has of some scalars, and the last panel, RGB.
    """
    visualizer = dict(
        type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend'), backend]
    )
    logger = dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None)
    settings = dict(visualizer=visualizer, default_hooks=logger, max_epochs=1)
    # MMEngine's LoggerHook closes the backends.
    train(work_dir, simsiam(), HOOKS, **settings)
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    entries = list(map(json.loads, path.read_text().splitlines()))
    panel = cv2.imread(str(next(work_dir.glob('*/vis_data/vis_image/*_1.png'))))
    return {name: [entry[name] for entry in entries if name in entry] for name in LOGGED}, panel[
        ..., ::-1
    ]


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged, panel = run(tmp_path, dict(type='TensorboardVisBackend'))
    (path,) = tmp_path.glob('*/vis_data/events.out.tfevents.*')
    found = EventAccumulator(str(path), size_guidance={'images': 0}).Reload()
    for name, values in logged.items():
        assert [event.value for event in found.Scalars(name)] == pytest.approx(values)
        assert [event.step for event in found.Scalars(name)] == [1, 2, 3]
    *_, image = found.Images('selection_panel')
    encoded = np.frombuffer(image.encoded_image_string, np.uint8)
    assert np.array_equal(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1], panel)
    (config,) = found.Tensors('config/text_summary')
    assert 'SelectionPanelHook' in config.tensor_proto.string_val[0].decode()


def test_mlflow(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv('MLFLOW_DISABLE_TELEMETRY', 'true')
    # Without a place for artifacts, a data base has them in the current folder.
    monkeypatch.chdir(tmp_path)
    uri = f'sqlite:///{tmp_path}/mlflow.db'
    logged, panel = run(
        tmp_path / 'run',
        dict(type='MLflowVisBackend', exp_name='hvs', tracking_uri=uri),
    )
    client = MlflowClient(uri)
    (found,) = client.search_runs([client.get_experiment_by_name('hvs').experiment_id])
    for name, values in logged.items():
        history = client.get_metric_history(found.info.run_id, name)
        assert [one.value for one in history] == pytest.approx(values)
    picture = client.download_artifacts(found.info.run_id, 'selection_panel.png')
    assert np.array_equal(cv2.imread(picture)[..., ::-1], panel)
    assert found.data.params['model.algorithm.type'] == 'SimSiam'
    config = Path(client.download_artifacts(found.info.run_id, 'config.py')).read_text()
    assert 'SelectionPanelHook' in config


def test_wandb(tmp_path, monkeypatch):
    import wandb
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv('WANDB_SILENT', 'true')
    offline = dict(project='hvs', mode='offline')
    logged, panel = run(tmp_path, dict(type='WandbVisBackend', init_kwargs=offline))
    # A process of its own writes the file; this waits for it.
    wandb.teardown()
    (path,) = tmp_path.glob('*/vis_data/wandb/offline-run-*/run-*.wandb')
    history: dict[str, list[Any]] = {}
    config: dict[str, Any] = {}
    for content in records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        for item in record.history.item:
            name = item.key or '/'.join(item.nested_key)
            history.setdefault(name, []).append(json.loads(item.value_json))
        for item in (*record.config.update, *record.run.config.update):
            config[item.key or item.nested_key[0]] = json.loads(item.value_json)
    for name, values in logged.items():
        assert history[name] == pytest.approx(values)
    picture = path.parent / 'files' / history['selection_panel/path'][-1]
    assert np.array_equal(cv2.imread(str(picture))[..., ::-1], panel)
    assert config['model']['algorithm']['type'] == 'SimSiam'


def records(content: bytes) -> Iterator[bytes]:
    """Records of a file of W&B: LevelDB's log format after a header of 7 bytes."""
    at, whole = 7, b''
    while at < len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack('<IHB', content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        # Whole, or the last part.
        if kind in (1, 4):
            yield whole
            whole = b''
