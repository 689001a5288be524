# hvs_simclr_200e.py with color jitter, grayscale, blur and solarization on the model's device.
_base_ = 'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2], photometry='device'))
