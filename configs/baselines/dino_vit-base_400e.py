# DINO, ViT-B/16, 400 epochs of ImageNet-1k, with the settings of ViT-S/16 but for the prototypes, whose
# length DINO's authors fix for ViT-B.
_base_ = 'dino_vit-small_300e.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(in_channels=768, fixed_norm=True))

train_cfg = dict(max_epochs=400)
param_scheduler = [
    _base_.param_scheduler[0],
    *(dict(cosine, end=400) for cosine in _base_.param_scheduler[1:]),
]
