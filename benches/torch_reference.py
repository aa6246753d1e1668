"""The recipe of SAIL in plain PyTorch: the baseline that tests and benchmarks compare this workspace with.

    python benches/torch_reference.py examples/data/emoji-features.safetensors --head glu --width 2 --lr 1e-4

trains one head on frozen features and prints one JSON object with the retrieval on held-out rows and the seconds
spent in the training loop. Needs: pip install torch numpy safetensors
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F
from torch import nn


class Glu(nn.Module):
    """W3 (relu6(W1 x) * W2 x), both branches clamped to +-1000."""

    def __init__(self, d_input, d_output, width):
        super().__init__()
        self.gate = nn.Linear(d_input, width * d_input)
        self.value = nn.Linear(d_input, width * d_input)
        self.output = nn.Linear(width * d_input, d_output)

    def forward(self, x):
        gate = F.relu6(self.gate(x).clamp(-1e3, 1e3))
        return self.output(gate * self.value(x).clamp(-1e3, 1e3))


class Mlp(nn.Module):
    """W2 gelu(W1 x) with four times the input's width."""

    def __init__(self, d_input, d_output):
        super().__init__()
        self.hidden = nn.Linear(d_input, 4 * d_input)
        self.output = nn.Linear(4 * d_input, d_output)

    def forward(self, x):
        return self.output(F.gelu(self.hidden(x)))


class Side(nn.Module):
    """LayerNorm and a projector, with the parameter names of a head file."""

    def __init__(self, kind, d_input, d_output, width):
        super().__init__()
        self.norm = nn.LayerNorm(d_input)
        layers = {
            "linear": lambda: nn.Linear(d_input, d_output),
            "mlp": lambda: Mlp(d_input, d_output),
            "glu": lambda: Glu(d_input, d_output, width),
        }
        self.projector = layers[kind]()

    def forward(self, x):
        return self.projector(self.norm(x))


class Logit(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([math.log(20.0)]))
        self.bias = nn.Parameter(torch.tensor([-10.0]))


class Head(nn.Module):
    def __init__(self, kind, image_dim, text_dim, dim, width):
        super().__init__()
        self.image = Side(kind, image_dim, dim, width)
        self.text = Side(kind, text_dim, dim, width)
        self.logit = Logit()
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


class Lion(torch.optim.Optimizer):
    """Sign of the interpolated momentum, with decoupled weight decay on every parameter."""

    def __init__(self, parameters, lr, weight_decay, betas=(0.9, 0.99)):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                update = (momentum * beta1 + p.grad * (1 - beta1)).sign_()
                p.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-lr)
                momentum.mul_(beta2).add_(p.grad, alpha=1 - beta2)


def sigmoid_loss(images, texts, logit):
    """Mean over all pairs of -log sigmoid(z * logit), z = 1 on the diagonal of each caption set and -1 elsewhere."""
    images = F.normalize(images, dim=-1)
    signs = 2 * torch.eye(len(images)) - 1
    logits = [logit.log_scale.exp() * images @ F.normalize(t, dim=-1).T + logit.bias for t in texts]
    return -torch.cat([F.logsigmoid(signs * block) for block in logits], dim=1).mean()


def learning_rate(peak, step, steps, warmup=0.1):
    """Linear warm-up over the first tenth of the steps, then half a cosine down to 0."""
    w = warmup * steps
    if step < w:
        return peak * min(1, (step + 1) / max(1, math.ceil(w)))
    return peak * 0.5 * (1 + math.cos(math.pi * (step - w) / (steps - w)))


def train(head, images, texts, batches, steps, lr, weight_decay=1e-4):
    """Trains on the given batches of row indices; returns the loss of every step."""
    optimizer, losses = Lion(head.parameters(), lr, weight_decay), []
    for step, rows in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate(lr, step, steps)
        optimizer.zero_grad()
        loss = sigmoid_loss(head.image(images[rows]), [head.text(t[rows]) for t in texts], head.logit)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            head.logit.log_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
    return losses


def recall(queries, gallery):
    scores = F.normalize(queries, dim=-1) @ F.normalize(gallery, dim=-1).T
    rank = (scores > scores.diagonal()[:, None]).sum(1)
    return {f"r@{k}": 100 * (rank < k).double().mean().item() for k in (1, 5, 10)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features")
    parser.add_argument("--texts", default="label", help="comma-separated caption tensors, extra positives after the first")
    parser.add_argument("--projector", default="glu", choices=("linear", "mlp", "glu"))
    parser.add_argument("--width", type=int, default=2)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, default=370)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--holdout", type=int, default=370)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()

    from safetensors.torch import load_file

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tensors = load_file(args.features)
    images, texts = tensors["image"].float(), [tensors[name].float() for name in args.texts.split(",")]
    order = torch.randperm(len(images))
    holdout, rows = order[: args.holdout], order[args.holdout :]
    head = Head(args.projector, images.shape[1], texts[0].shape[1], args.dim, args.width)
    per_epoch = len(rows) // args.batch
    batches = (
        shuffled[b * args.batch : (b + 1) * args.batch]
        for shuffled in (rows[torch.randperm(len(rows))] for _ in range(args.epochs))
        for b in range(per_epoch)
    )
    started = time.perf_counter()
    losses = train(head, images, texts, batches, args.epochs * per_epoch, args.lr)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        image, text = head.image(images[holdout]), head.text(texts[0][holdout])
    holdout = {"i2t": recall(image, text), "t2i": recall(text, image)}
    print(json.dumps({"holdout": holdout, "loss": losses[-1], "steps": len(losses), "seconds": seconds}))


if __name__ == "__main__":
    main()
