# DINO, ViT-S/16, 300 epochs of ImageNet-1k: the teacher's temperature warms up.
_base_ = 'dino_vit-small_100e.py'

model = dict(
    head=dict(teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_teacher_temp_epochs=30))

train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=300, convert_to_iter_based=True),
    dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=300, convert_to_iter_based=True),
]
