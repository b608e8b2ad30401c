"""The VQ-VAE of minae.models in PyTorch: the same network, losses and ways to learn a codebook.

Once k-means has placed the codebook, a step waits for nothing: a CUDA graph can hold it.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self, features, inner):
        super().__init__()
        self.spread = nn.Conv2d(features, inner, 3, padding=1, bias=False)
        self.mix = nn.Conv2d(inner, features, 1, bias=False)

    def forward(self, x):
        return x + self.mix(F.relu(self.spread(F.relu(x))))


class Quantizer(nn.Module):
    """A codebook by the paper's moving sums and counts (``ema``), or by gradient."""

    def __init__(self, codes=512, features=64, ema=True, init="kmeans", revive=0.3):
        super().__init__()
        self.ema, self.placed, self.revive = ema, init == "random", revive
        book = torch.randn(codes, features)
        self.codebook = nn.Parameter(book, requires_grad=not ema)
        self.register_buffer("batches", torch.zeros(()))  # a number of the device, as a graph needs
        self.register_buffer("use", torch.ones(codes))
        self.register_buffer("sums", book.clone())

    def nearest(self, flat):
        book = self.codebook.detach()
        return torch.addmm((book * book).sum(1), flat, book.T, alpha=-2).argmin(1)

    @torch.no_grad()
    def kmeans(self, flat, iterations=10):
        order = torch.randperm(len(flat), device=flat.device)
        centres = flat[order[: len(self.codebook)]].clone()
        for _ in range(iterations + 1):
            self.codebook.data.copy_(centres)
            codes = self.nearest(flat)
            sizes = torch.bincount(codes, minlength=len(centres))
            sums = torch.zeros_like(centres).index_add_(0, codes, flat)
            seen = sizes > 0
            centres[seen] = sums[seen] / sizes[seen, None]
        self.use.copy_(sizes.clamp(min=1))
        self.sums.copy_(self.codebook * self.use[:, None])
        self.placed = True

    @torch.no_grad()
    def learn(self, flat, codes, decay=0.99):
        newness = 1 - ((1 + self.batches) / (10 + self.batches)).clamp(max=decay)  # more at first
        self.batches += 1
        ones = torch.ones_like(flat[:, 0])
        self.use.lerp_(torch.zeros_like(self.use).index_add_(0, codes, ones), newness)
        if self.ema:
            sums = torch.zeros_like(self.sums).index_add_(0, codes, flat)
            self.sums.lerp_(sums, newness)
            self.codebook.data.copy_(self.sums / self.use.clamp(min=1e-30)[:, None])
        if self.revive:
            even = self.use.mean()
            dead = self.use < self.revive * even
            drawn = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
            self.use.copy_(torch.where(dead, even, self.use))
            for kept, new in ((self.codebook.data, drawn), (self.sums, drawn * self.use[:, None])):
                kept.copy_(torch.where(dead[:, None], new, kept))

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        if self.training and not self.placed:
            self.kmeans(flat.detach())
        codes = self.nearest(flat.detach())
        chosen = self.codebook[codes]
        loss = 0.25 * F.mse_loss(flat, chosen.detach())
        if not self.ema:
            loss = loss + F.mse_loss(chosen, flat.detach())
        if self.training:
            self.learn(flat.detach(), codes)
        values = flat + (chosen - flat).detach()
        batch, features, height, width = z.shape
        return values.view(batch, height, width, features).permute(0, 3, 1, 2), codes, loss


class VQVAE(nn.Module):
    def __init__(self, hidden=64, inner=32, features=64, **options):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, hidden // 2, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(hidden // 2, hidden, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, 1, 1),
            Residual(hidden, inner), Residual(hidden, inner), nn.ReLU(),
            nn.Conv2d(hidden, features, 1),
        )  # fmt: skip
        self.quantizer = Quantizer(features=features, **options)
        self.decoder = nn.Sequential(
            nn.Conv2d(features, hidden, 3, 1, 1),
            Residual(hidden, inner), Residual(hidden, inner), nn.ReLU(),
            nn.ConvTranspose2d(hidden, hidden // 2, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(hidden // 2, 1, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x):
        values, codes, loss = self.quantizer(self.encoder(x))
        return self.decoder(values), codes, loss


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]
