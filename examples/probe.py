"""Which encoders to pair? Probes four vision and three text encoders on the emoji images, from very good to random.

    python examples/probe.py [--work target/emoji] [--sail target/release/sail]

Takes the models and images that examples/emoji.py fetches, encodes the images with EfficientNet-Lite0, with the same
model on images of 64 pixels, with a tiny transformer whose weights are random, and as the principal components of raw
pixels; the captions with all-MiniLM-L6-v2, their names alone with the same, and as letter trigrams. `sail probe` then
trains linear layers for all twelve pairs, and reports which measures before training predict the result. Writes target/emoji/probe.html. Needs Python 3.11 with pip; NumPy and Pillow are installed into the work folder.
"""

import argparse
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

from emoji import ROOT, fetch_models, fetch_images, key, pillow, pip, say, write_captions

NUMPY = "numpy==2.3.5"
RANDOM = ROOT / "crates/encoders/tests/fixtures/vision/dinov2"
COMPONENTS = 128


def save(path, tensors):
    """A safetensors file of NumPy arrays."""
    header, data = {}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
        end = len(data) + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def components(rows):
    """Principal components with their scale."""
    import numpy

    centred = rows - rows.mean(0)
    u, s, _ = numpy.linalg.svd(centred, full_matrices=False)
    return (u[:, :COMPONENTS] * s[:COMPONENTS]).astype(numpy.float32)


def pixels(Image, folder, rows):
    import numpy

    def read(row):
        image = Image.open(folder / key(row)).convert("RGB").resize((32, 32), Image.Resampling.BOX)
        return numpy.asarray(image, numpy.float64).ravel() / 255

    return components(numpy.stack([read(row) for row in rows]))


def trigrams(texts):
    """Counts of letter trigrams, weighted by how rare they are."""
    import numpy

    counts = numpy.zeros((len(texts), 4096))
    for row, text in enumerate(texts):
        text = f"  {text.lower()} "
        for start in range(len(text) - 2):
            counts[row, zlib.crc32(text[start : start + 3].encode()) % counts.shape[1]] += 1
    rarity = numpy.log(len(texts) / numpy.maximum((counts > 0).sum(0), 1))
    weighted = numpy.log1p(counts) * rarity
    return components(weighted / numpy.linalg.norm(weighted, axis=1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/emoji")
    parser.add_argument("--sail", type=Path, default=ROOT / "target/release/sail")
    args = parser.parse_args()
    work, features = args.work, args.work / "probe"
    features.mkdir(parents=True, exist_ok=True)

    def sail(*arguments, **options):
        say("$ sail " + " ".join(map(str, arguments)))
        return subprocess.run([args.sail, *arguments], check=True, **options)

    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    # In the order of the keys, which is that of the stores: features without keys pair by position.
    rows.sort(key=lambda row: key(row).encode())
    fetch_models(work)
    images = fetch_images(work, rows)
    Image = pillow(work)
    if not (work / "python/numpy").exists():
        pip("install", "--target", str(work / "python"), "--upgrade", NUMPY)
    import numpy

    captions = features / "captions.jsonl"
    write_captions(captions, rows)
    texts = [json.loads(line)["caption"] for line in captions.read_text(encoding="utf-8").splitlines()]
    subgroups = sorted({row["subgroup"] for row in rows})
    save(
        features / "made.safetensors",
        {
            "pixels": pixels(Image, images, rows),
            "trigrams": trigrams(texts),
            "subgroup": numpy.array([subgroups.index(row["subgroup"]) for row in rows], numpy.int64),
        },
    )
    random = features / "random-model"
    shutil.copytree(RANDOM, random, dirs_exist_ok=True)
    shutil.copy(work / "vision/preprocessor_config.json", random)

    def encode(kind, name, *arguments):
        shutil.rmtree(features / name, ignore_errors=True)
        sail("encode", kind, *arguments, "--out", features / name, "--json", stdout=subprocess.DEVNULL)
        return f"{name}={features / name}"

    vision = ["--input", images, "--model", work / "vision", "--pooling", "pooled"]
    text = ["--input", captions, "--key-column", "key", "--model", work / "text"]
    images = [
        encode("images", "EfficientNet", *vision),
        encode("images", "EfficientNet 64px", *vision, "--size", "64"),
        encode("images", "random ViT", "--input", images, "--model", random, "--size", "60"),
        f"pixels={features / 'made.safetensors'}:pixels",
    ]
    captioned = [
        encode("texts", "MiniLM", *text, "--caption-column", "caption"),
        encode("texts", "MiniLM, names", *text, "--caption-column", "label"),
        f"trigrams={features / 'made.safetensors'}:trigrams",
    ]
    grid = [word for spec in images for word in ("--images", spec)] + [word for spec in captioned for word in ("--texts", spec)]
    classes = ["--labels", f"{features / 'made.safetensors'}:subgroup"]
    sail("probe", *grid, *classes, "--holdout", "370", "--seed", "0", "--dim", "512", "--batch", "370",
         "--epochs", "50", "--lr", "3e-4", "--report", work / "probe.html")


if __name__ == "__main__":
    main()
