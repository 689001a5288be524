# SimSiam, ResNet-50, 100 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings. The paper trains with batch 512 at the same rate per sample and with
# less saturation jitter; on 8 GPUs that is
#   --cfg-options train_dataloader.batch_size=64 optim_wrapper.optimizer.lr=0.1 \
#       custom_hooks.0.lr=0.1 \
#       train_dataloader.dataset.pipeline.1.transforms.0.1.transforms.0.saturation=0.2
_base_ = ['mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py', '_base_/hvs.py']

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[4],
    keep=[2])

train_dataloader = dict(
    # MMEngine hands a scope inherited from upstream on to the function.
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='CandidateViews', num_views=[4], transforms=[{{_base_.view_pipeline}}]),
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    finite_step=dict(type='FiniteStepHook'),
    selection=dict(type='SelectionStatsHook'),
    bad_images=dict(type='BadImagesHook'))
