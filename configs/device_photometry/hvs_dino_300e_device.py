# hvs_dino_300e.py with color jitter, grayscale, blur and solarization on the model's device.
_base_ = '../baselines/dino_vit-small_300e.py'

from hvs_mm import hard_views

globals().update(hard_views(
    _base_, candidates=[2, 2, 16], keep=[1, 1, 8],
    selector=dict(type='hardest', max_comparisons=64), photometry='device'))
