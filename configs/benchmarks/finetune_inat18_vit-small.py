# iNaturalist 2018, ViT-S/16, batch 768 (8 x 96). iBOT has other settings here: a larger learning rate, fewer epochs, less
# erasing.
_base_ = ['_base_/finetune_vit-small.py', '_base_/inat18.py']

from hvs_mm.apis import on_data_set

globals().update(on_data_set(_base_))

*crop_and_distort, erase, pack = _base_.train_pipeline[1:]
train_dataloader['dataset']['pipeline'] = [
    _base_.load_image, *crop_and_distort, dict(erase, erase_prob=0.1), pack]

optim_wrapper = dict(optimizer=dict(lr=5e-5 * 768 / 512))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1e-6 / (5e-5 * 768 / 512)),
    dict(_base_.param_scheduler[1], eta_min_ratio=1e-5 / (5e-5 * 768 / 512)),
]
train_cfg = dict(max_epochs=360)
