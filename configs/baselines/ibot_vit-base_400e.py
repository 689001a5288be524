# iBOT, ViT-B/16, 400 epochs of ImageNet-1k, with the settings of ViT-S/16 but for the prototypes:
# iBOT's authors fix their length for ViT-B, which can become unstable otherwise.
_base_ = 'ibot_vit-small_300e.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(in_channels=768, fixed_norm=True))

train_cfg = dict(max_epochs=400)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=400, convert_to_iter_based=True),
    dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=400, convert_to_iter_based=True),
]
