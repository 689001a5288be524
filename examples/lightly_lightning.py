"""SimCLR with hard views by Lightly and PyTorch Lightning, on built-in images."""

import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from lightly.utils.benchmarking import knn_predict
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from hvs_mm import CandidateTransform, HardViews
from hvs_mm.datasets.shape_images import ShapeImages


class SimCLR(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = ResNet(BasicBlock, [1, 1, 1, 1])
        self.backbone.layer4 = self.backbone.fc = nn.Identity()
        self.network = nn.Sequential(self.backbone, SimCLRProjectionHead(256, 256, 64))
        self.criterion = NTXentLoss(temperature=0.2)
        self.hard = HardViews(self.criterion, candidates=[4], keep=[2])

    def training_step(self, batch, _):
        (views, *_), _ = batch
        kept, record = self.hard(self.network, views)
        self.log('hardness', record.hardness().nanmean())
        return self.criterion(*[self.network(view) for view in kept])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return [optimizer], [schedule]


@torch.no_grad()
def knn(backbone):
    """Accuracy of the 10 nearest neighbors in percent."""
    backbone.eval()
    pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    whole = v2.Compose([v2.Resize(48), v2.RandomGrayscale(1.0), *pixels])
    found = []
    for split in ('train', 'val'):
        batches = DataLoader(ShapeImages(split, 1024, whole), batch_size=256)
        pairs = [(F.normalize(backbone(images)), labels) for images, labels in batches]
        found += [torch.cat(part) for part in zip(*pairs)]
    bank, labels, queries, expected = found
    guesses = knn_predict(queries, bank.T, labels, num_classes=10, knn_k=10)[:, 0]
    return 100 * (guesses == expected).float().mean().item()


def train(model, epochs=10):
    # The class of an image is its shape: color says nothing.
    gray = dict(cj_prob=0.0, random_gray_scale=1.0, gaussian_blur=0.0, normalize=None)
    transform = SimCLRTransform(32, min_scale=0.2, **gray)
    images = ShapeImages('train', 1024, CandidateTransform(transform, 4))
    loader = DataLoader(images, batch_size=32, shuffle=True, drop_last=True)
    trainer = pl.Trainer(max_epochs=epochs, accelerator='cpu', logger=False,
                         enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False)  # fmt: skip
    model.train()
    trainer.fit(model, loader)


pl.seed_everything(0)
model = SimCLR()
print(f'k-NN before: {knn(model.backbone):.1f} %')
train(model)
print(f'k-NN after: {knn(model.backbone):.1f} %')
