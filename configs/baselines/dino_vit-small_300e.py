# DINO, ViT-S/16, 300 epochs of ImageNet-1k: the teacher's temperature warms up, and the length of the
# prototypes is free, as DINO's authors train longer (README of facebookresearch/dino, "Boosting DINO
# performance": --norm_last_layer false, which they call safe for ViT-S alone).
_base_ = 'dino_vit-small_100e.py'

model = dict(
    neck=dict(fixed_norm=False),
    head=dict(teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_teacher_temp_epochs=30))

train_cfg = dict(max_epochs=300)
param_scheduler = [
    _base_.param_scheduler[0],
    *(dict(cosine, end=300) for cosine in _base_.param_scheduler[1:]),
]
