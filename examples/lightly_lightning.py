"""SimCLR with hard views by Lightly and PyTorch Lightning, on built-in images."""

import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from hvs_mm import CandidateTransform, HardViews
from hvs_mm.datasets.shape_images import ShapeImages

# The class of an image is its shape: color says nothing.
gray = dict(cj_prob=0.0, random_gray_scale=1.0, gaussian_blur=0.0, normalize=None)
crop = SimCLRTransform(32, min_scale=0.2, **gray)
pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
whole = v2.Compose([v2.Resize(48), v2.RandomGrayscale(1.0), *pixels])


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
def knn(backbone, k=10):
    """Accuracy of the k nearest neighbors in percent."""
    backbone.eval()
    images = [ShapeImages(split, 1024, whole) for split in ('train', 'val')]
    pairs = [next(iter(DataLoader(one, batch_size=1024))) for one in images]
    (bank, labels), (queries, expected) = [(F.normalize(backbone(x)), y) for x, y in pairs]
    nearest = labels[(queries @ bank.T).topk(k).indices].mode().values
    return 100 * (nearest == expected).float().mean().item()


def train(model, epochs=10):
    images = ShapeImages('train', 1024, CandidateTransform(crop, 4))
    loader = DataLoader(images, batch_size=32, shuffle=True, drop_last=True)
    quiet = dict.fromkeys(['enable_progress_bar', 'enable_model_summary', 'logger'], False)
    trainer = pl.Trainer(max_epochs=epochs, accelerator='cpu', enable_checkpointing=False, **quiet)
    trainer.fit(model.train(), loader)


pl.seed_everything(0)
model = SimCLR()
print(f'k-NN before: {knn(model.backbone):.1f} %')
train(model)
print(f'k-NN after: {knn(model.backbone):.1f} %')
