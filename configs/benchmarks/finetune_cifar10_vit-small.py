# CIFAR-10, ViT-S/16, batch 768 (8 x 96).
_base_ = ['_base_/finetune_vit-small.py', '_base_/cifar10.py']

from hvs_mm.apis import on_data_set

globals().update(on_data_set(_base_))
