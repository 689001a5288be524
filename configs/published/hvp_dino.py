# DINO with hard views as automl/hvp trains it (branch dino-wds): ViT-S/16, 100 epochs of ImageNet-1k, batch
# 1024. Names and values in comments are defaults of its pretrain.py. Mixed precision, its default, is --amp.
#
# The batch and the limit of comparisons are those of the only run config there,
# example_config__juwels_pretrain.yaml, which is for 800 epochs, with other crops and without clipping. What
# our baseline, DINO's own settings, has already is not repeated.
_base_ = '../baselines/dino_vit-small_100e.py'

from hvs_mm import hard_views

globals().update(hard_views(
    # num_global_crops_loader: 4, num_local_crops_loader: 16, local_crops_number: 8
    _base_, candidates=[2, 2, 16], keep=[1, 1, 8],
    # limit_comparisons: 64
    selector=dict(type='hardest', max_comparisons=64)))

# models/vision_transformer.py, interpolate_pos_encoding
model['algorithm']['backbone'].update(type='OffsetVisionTransformer', pos_embed_offset=0.1)
custom_hooks = [
    dict(type='TeacherHook', momentum=0.004),
    # clip_grad: 3.0, by torch's clip_grad_norm_
    dict(type='GradientHook', clip=3.0, by='model', freeze_epochs=1),
]
