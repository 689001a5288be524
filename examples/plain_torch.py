"""SimCLR with hard views in plain torch: a small ResNet of torchvision on built-in images."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from hvs_mm import CandidateTransform, HardViews, losses
from hvs_mm.datasets.shape_images import ShapeImages

# The class of an image is its shape: color says nothing.
gray = v2.Compose([v2.RandomGrayscale(1.0), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
whole = v2.Compose([v2.Resize(48), gray])
crop = v2.Compose([v2.RandomResizedCrop(32, (0.2, 0.5)), v2.RandomHorizontalFlip(), gray])


def ntxent(z0, z1, temperature=0.2):
    z = F.normalize(torch.cat([z0, z1]), dim=1)
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z)).roll(len(z0)))


@torch.no_grad()
def knn(backbone, k=10):
    """Accuracy of the k nearest neighbors in percent."""
    backbone.eval()
    images = [ShapeImages(split, 1024, whole) for split in ('train', 'val')]
    pairs = [next(iter(DataLoader(one, batch_size=1024))) for one in images]
    (bank, labels), (queries, expected) = [(F.normalize(backbone(x)), y) for x, y in pairs]
    nearest = labels[(queries @ bank.T).topk(k).indices].mode().values
    return 100 * (nearest == expected).float().mean().item()


def train(backbone, projector, epochs=10):
    model = nn.Sequential(backbone, projector).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    hard = HardViews(losses.NTXent(0.2), candidates=[4], keep=[2])
    images = ShapeImages('train', 1024, CandidateTransform(crop, 4))
    for _ in range(epochs):
        for batch, _ in DataLoader(images, batch_size=32, shuffle=True, drop_last=True):
            kept, _ = hard(model, batch.views)
            loss = ntxent(*[model(view) for view in kept])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


torch.manual_seed(0)
backbone = ResNet(BasicBlock, [1, 1, 1, 1])
backbone.layer4 = backbone.fc = nn.Identity()
projector = nn.Sequential(
    nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64), nn.BatchNorm1d(64)
)
print(f'k-NN before: {knn(backbone):.1f} %')
train(backbone, projector)
print(f'k-NN after: {knn(backbone):.1f} %')
