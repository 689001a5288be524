# DINOv2, ViT-B/14, with the settings of ViT-S/14.
_base_ = 'dinov2_vit-small.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(in_channels=768))
