"""The baseline of `benches/align.rs` in plain PyTorch.

    python benches/align_reference.py product SIDE [ROUNDS]
    python benches/align_reference.py loss BATCH DIM SETS [ROUNDS]
    python benches/align_reference.py step linear|mlp|glu IMAGE_DIM TEXT_DIM DIM WIDTH BATCH [ROUNDS]

--bf16 enables autocast. Each prints {"seconds": [...]} of every round after a warm-up round.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F

from torch_reference import Head, Lion, Logit, sigmoid_loss


def timed(rounds, work):
    work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("product", "loss", "step"))
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)

    if args.work == "product":
        side, rounds = int(args.sizes[0]), int((args.sizes[1:] + [3])[0])
        a, b = (torch.randn(side, side, dtype=torch.bfloat16 if args.bf16 else torch.float32) for _ in range(2))
        timed(rounds, lambda: a @ b)
    elif args.work == "loss":
        batch, dim, sets, rounds = map(int, (args.sizes + [3])[:4])
        images, *texts = (F.normalize(torch.randn(batch, dim), dim=-1).requires_grad_() for _ in range(1 + sets))
        logit = Logit()

        def loss():
            with autocast:
                value = sigmoid_loss(images, texts, logit)
            value.backward()
            for leaf in (images, *texts, *logit.parameters()):
                leaf.grad = None

        timed(rounds, loss)
    else:
        kind, *sizes = args.sizes
        image_dim, text_dim, dim, width, batch, rounds = map(int, (sizes + [3])[:6])
        images, texts = torch.randn(batch, image_dim), torch.randn(batch, text_dim)
        head = Head(kind, image_dim, text_dim, dim, width)
        optimizer = Lion(head.parameters(), 1e-5, 1e-4)

        def step():
            optimizer.zero_grad()
            with autocast:
                value = sigmoid_loss(head.image(images), [head.text(texts)], head.logit)
            value.backward()
            optimizer.step()
            value.item()

        timed(rounds, step)


if __name__ == "__main__":
    main()
