"""Training steps of sequence models

    python benchmarks/language.py

GPT and BERT: 4 layers of 256 features and 8 heads, 16 sequences of 128 tokens, a vocabulary of 65,
no dropout. LSTM: 2 layers of 256 features, 32 sequences of 64 steps, mean square of the outputs.
Float32, two threads, AdamW. Inside the clock: forward, loss, backward and the step, until the loss
is a number. PyTorch has `scaled_dot_product_attention`, its own LSTM and the fused AdamW, eager.
"""

import numpy as np
from harness import compared, main

LAYERS, FEATURES, HEADS, TIME, BATCH, VOCABULARY = 4, 256, 8, 128, 16, 65
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, VOCABULARY, (BATCH, TIME + 1))
POSITIONS = np.stack([RNG.permutation(TIME)[: TIME * 15 // 100] for _ in range(BATCH)])
LABELS = np.take_along_axis(TOKENS, POSITIONS, axis=1)
MASKED = TOKENS[:, :TIME].copy()
np.put_along_axis(MASKED, POSITIONS, 0, axis=1)
SEQUENCES = RNG.standard_normal((32, 64, FEATURES), dtype="float32")


def minae():
    import minae as m
    from minae.models import BERT, GPT
    from minae.models.bert import Masked
    from minae.nn import LSTM
    from minae.optim import AdamW

    def step(model, loss):
        optimizer = AdamW(model.parameters(), 1e-3)

        def run():
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value.item()

        return run

    m.seed(0)
    sizes = {"layers": LAYERS, "features": FEATURES, "heads": HEADS, "dropout": 0.0}
    gpt, bert = GPT(VOCABULARY, TIME, **sizes), BERT(VOCABULARY, TIME, **sizes)
    lstm, masked = LSTM(FEATURES, FEATURES, 2), Masked(MASKED, POSITIONS, LABELS)
    return {
        "GPT": step(gpt, lambda: gpt.loss(TOKENS)[0]),
        "BERT": step(bert, lambda: bert.loss(masked)[0]),
        "LSTM": step(lstm, lambda: (lstm(SEQUENCES)[0] ** 2).mean()),
    }


def pytorch():
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, causal):
            super().__init__()
            self.causal = causal
            self.norm1, self.norm2 = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
            self.project = nn.Linear(FEATURES, 3 * FEATURES)
            self.out = nn.Linear(FEATURES, FEATURES)
            self.spread = nn.Linear(FEATURES, 4 * FEATURES)
            self.mix = nn.Linear(4 * FEATURES, FEATURES)

        def attend(self, x):
            parts = self.project(x).view(BATCH, TIME, 3, HEADS, FEATURES // HEADS)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
            return self.out(y.transpose(1, 2).reshape(BATCH, TIME, FEATURES))

        def feed(self, x):
            return self.mix(F.gelu(self.spread(x), approximate="tanh" if self.causal else "none"))

        def forward(self, x):
            if self.causal:  # GPT-2: norms first
                x = x + self.attend(self.norm1(x))
                return x + self.feed(self.norm2(x))
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.feed(x))

    class Transformer(nn.Module):
        def __init__(self, causal):
            super().__init__()
            self.words = nn.Embedding(VOCABULARY, FEATURES)
            self.places = nn.Embedding(TIME, FEATURES)
            self.layers = nn.Sequential(*(Layer(causal) for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(FEATURES)

        def forward(self, tokens):
            return self.words(tokens) + self.places.weight

    class GPT(Transformer):
        def forward(self, tokens):
            x = self.norm(self.layers(super().forward(tokens[:, :-1])))
            return F.cross_entropy(F.linear(x, self.words.weight).flatten(0, 1),
                                   tokens[:, 1:].flatten())  # fmt: skip

    class BERT(Transformer):
        def __init__(self):
            super().__init__(False)
            self.segments = nn.Embedding(2, FEATURES)
            self.transform = nn.Linear(FEATURES, FEATURES)
            self.transform_norm = nn.LayerNorm(FEATURES)
            self.bias = nn.Parameter(torch.zeros(VOCABULARY))

        def forward(self, tokens, positions, labels):
            x = self.norm(super().forward(tokens) + self.segments.weight[0])
            x = self.layers(x)[torch.arange(BATCH)[:, None], positions]
            x = self.transform_norm(F.gelu(self.transform(x)))
            logits = F.linear(x, self.words.weight, self.bias)
            return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def step(model, loss):
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

        def run():
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value.item()

        return run

    torch.manual_seed(0)
    gpt, bert, lstm = GPT(True), BERT(), nn.LSTM(FEATURES, FEATURES, 2, batch_first=True)
    tokens, masked, positions, labels, sequences = map(
        torch.from_numpy, (TOKENS, MASKED, POSITIONS, LABELS, SEQUENCES)
    )
    return {
        "GPT": step(gpt, lambda: gpt(tokens)),
        "BERT": step(bert, lambda: bert(masked, positions, labels)),
        "LSTM": step(lstm, lambda: (lstm(sequences)[0] ** 2).mean()),
    }


CONTENDERS = {"minae": minae, "torch": pytorch}


def tables(figures):
    return compared(figures, "minae", "training step")


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
