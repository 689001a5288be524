# hvs_simsiam_100e.py with color jitter, grayscale, blur and solarization on the model's device.
_base_ = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2], photometry='device'))
