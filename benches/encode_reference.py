"""The baseline of `benches/encode.rs`: the same work in PyTorch, sentence-transformers and Pillow.

    python benches/encode_reference.py make-model FOLDER                 DINOv2-B/14 with random weights
    python benches/encode_reference.py make-images FOLDER                640 x 480 JPEG images
    python benches/encode_reference.py vision BATCH SIZE [--bf16]        DINOv2-B/14 with random weights
    python benches/encode_reference.py text FOLDER CAPTIONS              sentence-transformers
    python benches/encode_reference.py preprocess FOLDER                 decode, resize, crop, normalize

The last three print {"per_second": ...}, the best of --rounds.
Requires: pip install torch transformers sentence-transformers pillow numpy
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def best(rounds, items, work):
    """Items per second of the fastest round, after a warm-up round."""
    work()
    fastest = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        fastest = max(fastest, items / (time.perf_counter() - start))
    print(json.dumps({"per_second": fastest}))


def dinov2():
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    return Dinov2Model(Dinov2Config(image_size=518)).eval()


def vision(args):
    import torch

    torch.set_num_threads(args.threads)
    model = dinov2()
    pixels = torch.randn(args.batch, 3, args.size, args.size)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        best(args.rounds, args.batch, lambda: model(pixels))


def text(args):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(args.threads)
    model = SentenceTransformer(str(args.folder), device="cpu")
    captions = args.captions.read_text(encoding="utf-8").splitlines()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        best(args.rounds, len(captions), lambda: model.encode(captions, batch_size=args.batch, show_progress_bar=False))


def photo(seed, width=640, height=480):
    """An image with the spectrum of a photo, amplitude falling with frequency, and some hard edges."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / width) ** 1.5
    planes = []
    for _ in range(3):
        plane = np.fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape)), (height, width))
        planes.append(plane / plane.std())
    pixels = np.stack([planes[0] + 0.4 * plane for plane in planes], -1) * 45 + 120
    for _ in range(6):
        top, left = rng.integers(0, height - 80), rng.integers(0, width - 80)
        pixels[top : top + rng.integers(20, 80), left : left + rng.integers(20, 80)] += rng.integers(-60, 60, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_images(args):
    args.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(64):
        photo(seed).save(args.folder / f"{seed:03}.jpg", quality=90)


def make_model(args):
    dinov2().save_pretrained(args.folder)
    settings = {
        "image_processor_type": "BitImageProcessor", "do_convert_rgb": True,
        "do_resize": True, "size": {"shortest_edge": 256}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    }
    (args.folder / "preprocessor_config.json").write_text(json.dumps(settings))


def preprocess(args):
    import numpy as np
    from PIL import Image

    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

    def prepare(path):
        with Image.open(path) as image:
            image = image.convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([int(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
        return np.ascontiguousarray(((pixels * (1 / 255) - mean) / std).transpose(2, 0, 1))

    paths = sorted(args.folder.iterdir())
    with ThreadPoolExecutor(args.threads) as pool:
        best(args.rounds, len(paths), lambda: list(pool.map(prepare, paths)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    commands = parser.add_subparsers(required=True)

    def command(name, run, *folders):
        added = commands.add_parser(name)
        added.set_defaults(run=run)
        for folder in folders:
            added.add_argument(folder, type=Path)
        return added

    command("make-model", make_model, "folder")
    command("make-images", make_images, "folder")
    added = command("vision", vision)
    added.add_argument("batch", type=int)
    added.add_argument("size", type=int)
    added.add_argument("--bf16", action="store_true", help="compute under bfloat16 autocast")
    added = command("text", text, "folder", "captions")
    added.add_argument("--batch", type=int, default=32)
    added.add_argument("--bf16", action="store_true", help="compute under bfloat16 autocast")
    command("preprocess", preprocess, "folder")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
