# What selection gives on CIFAR-10, for four methods: images in class folders,
# data/cifar10/train/<class>/*.jpg and data/cifar10/val/<class>/*.jpg, or another folder with
# --cfg-options train_dataloader.dataset.data_root=DIR. The length is for a GPU; cifar10_cpu.py is
# for two CPU cores.
name = 'cifar10'
methods = dict(
    simsiam=dict(
        baseline='configs/cifar10/simsiam_resnet18.py',
        selection='configs/cifar10/hvs_simsiam_resnet18.py',
        # Views of the images' own size, as the others have them.
        cfg_options={
            'train_dataloader.dataset.pipeline.1.transforms.0.0.scale': 32,
            'knn_pipeline.1.scale': 32,
        },
    ),
    simclr=dict(
        baseline='configs/cifar10/simclr_resnet18.py',
        selection='configs/cifar10/hvs_simclr_resnet18.py',
    ),
    dino=dict(baseline='configs/cifar10/dino_vit.py', selection='configs/cifar10/hvs_dino_vit.py'),
    ibot=dict(baseline='configs/cifar10/ibot_vit.py', selection='configs/cifar10/hvs_ibot_vit.py'),
)
arms = dict(
    baseline=dict(config='baseline'),
    random=dict(config='selection', cfg_options={'model.selector': 'random'}),
    hardest=dict(config='selection'),
)
# As all others: with upstream's MultiView, which takes twice as long for a view, the baseline would
# lose time in its loader.
cfg_options = {'train_dataloader.dataset.pipeline.1.type': 'CandidateViews'}
runs = [dict(epochs=[200], seeds=[0, 1, 2])]
evaluation = dict(knn=dict(k=20, interval=10), linear=dict(C=0.01))
