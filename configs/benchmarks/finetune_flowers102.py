# Oxford 102 Flowers, ResNet-50, batch 256 (8 x 32).
_base_ = ['_base_/finetune_resnet50.py', '_base_/flowers102.py']

from hvs_mm.apis import on_data_set

globals().update(on_data_set(_base_))

train_cfg = dict(by_epoch=True, max_epochs=2500, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=100))
