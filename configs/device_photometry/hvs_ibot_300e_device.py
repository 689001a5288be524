# hvs_ibot_300e.py with color jitter, grayscale, blur and solarization on the model's device.
_base_ = '../baselines/ibot_vit-small_300e.py'

from hvs_mm import hard_views

globals().update(hard_views(
    _base_, candidates=[2, 2, 10], keep=[1, 1, 10], num_views=[1, 3, 10], photometry='device'))
