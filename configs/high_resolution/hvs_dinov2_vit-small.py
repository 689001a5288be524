# hvs_dinov2_vit-small.py with global crops of 518 pixels in the last 8 of its 100 epochs: the 10,000
# steps that DINOv2's authors train so.
_base_ = '../hvs_dinov2_vit-small.py'

from hvs_mm import high_resolution

globals().update(high_resolution(_base_, epochs=8, sizes=[518, 518, 98]))
