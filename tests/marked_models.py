"""Models of a user's own, with marks, as the documentation has them: a ResNet and a small transformer."""

import torch
from torch import nn

from archsearch.marking import choose


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, narrow=False):
        super().__init__()
        hidden = choose.width(4, 8) if narrow else outputs
        self.conv1, self.bn1 = conv(inputs, hidden, 3, stride), nn.BatchNorm2d(hidden)
        self.conv2 = conv(hidden, outputs, 3) if narrow else self.second(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else conv(inputs, outputs, 1, stride)

    def second(self, channels):
        return choose(conv(channels, channels, 3), conv(channels, channels, 5), nn.Identity())

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Alternatives inside blocks, some of which may be left out."""

    def __init__(self, in_channels=1, num_classes=10, channels=8, narrow=False, deep=True):
        super().__init__()
        self.stem = conv(in_channels, channels, 3)
        self.layer1 = Block(channels, channels, 1, narrow)
        more = [Block(channels, 2 * channels, 2, narrow), Block(2 * channels, 2 * channels, 1, narrow)]
        self.layer2 = choose.depth(*more) if deep else nn.Sequential(*more)
        self.head = nn.Linear(2 * channels, num_classes)

    def forward(self, x):
        return self.head(self.layer2(self.layer1(torch.relu(self.stem(x)))).mean((2, 3)))


class Layer(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        hidden = choose.width(16, 32, 64)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.mix = nn.MultiheadAttention(features, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, features))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.mix(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches, a parameter of its own that the class initialises, a stack of depth 1 to 3, hidden widths."""

    def __init__(self, in_channels=1, image_size=8, num_classes=10, features=16):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, features, 2, 2)
        self.positions = nn.Parameter(torch.zeros(1, (image_size // 2) ** 2, features))
        nn.init.trunc_normal_(self.positions, std=0.02)
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]  # as timm does: not possible on the meta device
        self.layers = choose.depth(*[nn.Sequential(Layer(features, 2), nn.Dropout(rate)) for rate in rates])
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, num_classes)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.layers(x)).mean(1))


class Tied(nn.Module):
    """The same decision in several places, and a layer whose weight another one shares."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.first = choose(a=nn.Linear(64, 64), b=nn.Sequential(nn.Linear(64, 64), nn.ReLU()), name="kind")
        self.second = choose(a=nn.Linear(64, 64), b=nn.Sequential(nn.Linear(64, 64), nn.ReLU()), name="kind")
        self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 64)
        self.outer.weight = self.inner.weight
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(self.outer(self.inner(self.second(self.first(x.flatten(1))))))
