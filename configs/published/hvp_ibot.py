# iBOT with hard views as automl/hvp trains it (branch ibot): ViT-S/16, 100 epochs of ImageNet-1k, batch
# 1024. Names and values in comments are defaults of its main_ibot.py; head and masks are those of the job
# files of one of its authors, rapanti/ibot. Mixed precision, its default, is --amp.
#
# What our baseline, iBOT's own settings, has already is not repeated: gradients are clipped by tensor.
_base_ = '../baselines/ibot_vit-small_100e.py'

from hvs_mm import hard_views

# gcrops_num_loader: 4. DataAugmentationiBOT draws one of the first pipeline and three of the second;
# iBOTLoss keeps an even and an odd one. Of local crops it would keep all:
#   candidates=[2, 2, 10], keep=[1, 1, 10], num_views=[1, 3, 10]
globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1], num_views=[1, 3]))

# models/vision_transformer.py, interpolate_pos_encoding
model['algorithm']['backbone']['pos_embed_offset'] = 0.1
model['algorithm']['head'].update(
    # iBOTLoss.update_center
    patch_center='all',
    # teacher_temp: 0.04, for the [CLS] token from the first epoch on
    teacher_temp=0.04)
