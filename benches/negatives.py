"""Do label smoothing, or leaving out likely false negatives, help a sigmoid loss on few pairs?

    python benches/negatives.py [--features examples/data/emoji-features.safetensors] [--seeds 5]

Captions of different images may mean the same: then their pair is a false negative of the loss. Compares, in PyTorch,

* the sigmoid loss, every other caption a negative;
* label smoothing: targets 1 - e and e in place of 1 and 0;
* masking: negatives whose captions are more similar than a threshold, as the frozen text encoder has them, are left out;
* soft targets: those negatives have the similarity as their target, as far as it is above the threshold.

Heads, optimizer and schedule are those of torch_reference.py. Per seed: 370 test pairs, 200 validation pairs, the rest is trained on.
A setting is chosen by the mean over seeds of the validation recall, then trained again with the validation pairs and tested. Prints
the mean of R@1, R@5 and R@10 in both directions, and the difference to the plain loss over the seeds with its 95% interval.
Requires: pip install torch numpy safetensors
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from torch_reference import Head, Lion, learning_rate

ROOT = Path(__file__).resolve().parent.parent
TEST, VALIDATION, BATCH, EPOCHS = 370, 200, 370, 20
RATES = {"linear": 3e-4, "glu": 1e-4}
# 0.975 quantiles of Student's t with n degrees of freedom.
STUDENT = {2: 4.303, 4: 2.776, 9: 2.262}
VARIANTS = {
    "plain": [0.0],
    "label smoothing": [1e-4, 1e-3, 1e-2, 5e-2],
    "masking": [0.5, 0.6, 0.7, 0.8, 0.9],
    "soft targets": [0.5, 0.6, 0.7, 0.8, 0.9],
}


def loss(images, texts, logit, similarity, variant, value):
    logits = logit.log_scale.exp() * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T + logit.bias
    targets, weights = torch.eye(len(images)), torch.ones_like(logits)
    near = (similarity > value) & (targets == 0)
    if variant == "label smoothing":
        targets = targets * (1 - 2 * value) + value
    elif variant == "masking":
        weights = (~near).float()
    elif variant == "soft targets":
        targets = torch.where(near, (similarity - value) / (1 - value), targets).clamp(0, 1)
    return F.binary_cross_entropy_with_logits(logits, targets, weights, reduction="sum") / weights.sum()


def trained(kind, images, texts, rows, seed, variant, value):
    torch.manual_seed(seed)
    head = Head(kind, images.shape[1], texts.shape[1], 512, 2)
    batch = min(BATCH, len(rows))
    steps = EPOCHS * (len(rows) // batch)
    optimizer = Lion(head.parameters(), RATES[kind], 1e-4)
    directions = F.normalize(texts, dim=-1)
    for step in range(steps):
        if step % (len(rows) // batch) == 0:
            order = rows[torch.randperm(len(rows))]
        start = step % (len(rows) // batch) * batch
        chosen = order[start : start + batch]
        similarity = directions[chosen] @ directions[chosen].T
        optimizer.param_groups[0]["lr"] = learning_rate(RATES[kind], step, steps)
        optimizer.zero_grad()
        loss(head.image(images[chosen]), head.text(texts[chosen]), head.logit, similarity, variant, value).backward()
        optimizer.step()
    return head


@torch.no_grad()
def recall(head, images, texts, rows):
    logits = F.normalize(head.image(images[rows]), dim=-1) @ F.normalize(head.text(texts[rows]), dim=-1).T
    recalls = []
    for block in (logits, logits.T):
        rank = (block >= block.diagonal()[:, None]).sum(1)
        recalls += [(rank <= k).float().mean().item() for k in (1, 5, 10)]
    return 100 * sum(recalls) / len(recalls)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, default=ROOT / "examples/data/emoji-features.safetensors")
    parser.add_argument("--texts", nargs="+", default=["label", "caption"])
    parser.add_argument("--heads", nargs="+", default=list(RATES), choices=RATES)
    parser.add_argument("--seeds", type=int, default=5, choices=[n + 1 for n in STUDENT])
    args = parser.parse_args()
    tensors = load_file(args.features)
    images, seeds = tensors["image"].float(), range(args.seeds)
    splits = [torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    print("| head | captions | loss | chosen | mean recall | difference |\n|---|---|---|---|---|---|")
    for kind in args.heads:
        for name in args.texts:
            texts, plain = tensors[name].float(), None
            run = lambda *setting, rows, test: recall(trained(kind, images, texts, rows, *setting), images, texts, test)
            for variant, values in VARIANTS.items():
                mean = lambda value: sum(
                    run(seed, variant, value, rows=split[TEST + VALIDATION :], test=split[TEST : TEST + VALIDATION])
                    for seed, split in zip(seeds, splits)
                )
                value = max(values, key=mean) if len(values) > 1 else values[0]
                found = [run(seed, variant, value, rows=split[TEST:], test=split[:TEST]) for seed, split in zip(seeds, splits)]
                plain = plain or found
                differences = torch.tensor(found) - torch.tensor(plain)
                half = STUDENT[args.seeds - 1] * differences.std().item() / args.seeds**0.5
                print(
                    f"| {kind} | {name} | {variant} | {value:g} | {sum(found) / len(found):.1f} "
                    f"| {differences.mean().item():+.1f} ± {half:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
