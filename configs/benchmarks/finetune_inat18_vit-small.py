# iNaturalist 2018, ViT-S/16, batch 768 (8 x 96). iBOT has other settings here: a larger learning rate, fewer epochs, less
# erasing.
_base_ = ['_base_/finetune_vit-small.py', '_base_/inat18.py']

*crop_and_distort, erase, pack = _base_.train_pipeline[1:]

model = dict(head=dict(num_classes=_base_.num_classes))
data_preprocessor = dict(num_classes=_base_.num_classes)
train_dataloader = dict(dataset=dict(
    _delete_=True,
    **_base_.train_set,
    pipeline=[_base_.load_image, *crop_and_distort, dict(erase, erase_prob=0.1), pack]))
val_dataloader = dict(dataset=dict(
    _delete_=True, **_base_.test_set, pipeline=[_base_.load_image, *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=5e-5 * 768 / 512))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1e-6 / (5e-5 * 768 / 512)),
    dict(_base_.param_scheduler[1], eta_min_ratio=1e-5 / (5e-5 * 768 / 512)),
]
train_cfg = dict(max_epochs=360)
