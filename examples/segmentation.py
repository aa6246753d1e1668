"""Open-vocabulary segmentation end to end on a synthetic set with exact masks.

    python examples/segmentation.py [--work target/segmentation] [--sail target/release/sail]

Trains a head on the features of emoji images and their names (see emoji.py), without a fifth of the emoji. Those it
has never seen are cut out and pasted on photographs (of scikit-image: bricks, grass, gravel, the moon, a field of
galaxies), with exact masks: the class of an object is the group of its emoji. `sail eval segment` then segments the
scenes by the names of the classes, with and without the background as a class of its own, and the script prints the
mean intersection over union beside that of the most frequent class everywhere. The scenes are synthetic: the
scores say nothing about photographs of real objects.

Needs Python 3.11 with pip.
"""

import io
import json
import random
import shutil
import zipfile
from pathlib import Path

import emoji
from emoji import ROOT, code, key, say

PHOTOGRAPHS = "scikit-image==0.26.0"
BACKGROUNDS = ["brick.png", "grass.png", "gravel.png", "moon.png", "hubble_deep_field.jpg"]
HELD_OUT = 5
SCENES = 60
SIDE = 448

# A head on pooled features, and one on all tokens. The second costs a hundred times as much for a step.
POOLED = "--projector glu --width 2 --dim 512".split()
TOKENS = "--projector token --dim 256".split()

# The names of each group of emoji in prompts.
CLASSES = {
    "smileys & emotion": ["smiling face", "sad face", "angry face", "face expressing an emotion"],
    "people & body": ["person", "man", "woman", "hand gesture", "worker in uniform"],
    "animals & nature": ["animal", "bird", "insect", "fish", "flower", "plant"],
    "food & drink": ["food", "fruit", "vegetable", "meal", "drink", "dessert"],
    "travel & places": ["vehicle", "building", "car", "ship", "train", "clock", "weather"],
    "activities": ["sport", "ball", "game", "celebration", "medal"],
    "objects": ["tool", "clothing", "musical instrument", "office supplies", "household object"],
}
BACKGROUND = ["background", "wall", "texture", "ground", "sky at night", "stone"]


def backgrounds(work, Image):
    """Returns photographs that show none of the classes."""
    found = next((work / "wheels").glob("scikit_image*.whl"), None)
    if found is None:
        say(f"fetching {PHOTOGRAPHS}")
        emoji.pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(work / "wheels"), PHOTOGRAPHS)
        found = next((work / "wheels").glob("scikit_image*.whl"))
    with zipfile.ZipFile(found) as wheel:
        return [Image.open(io.BytesIO(wheel.read(f"skimage/data/{name}"))).convert("RGB") for name in BACKGROUNDS]


def scene(rng, Image, photographs, cutouts):
    """Two or three objects on a crop of a photograph, and the mask: 0 is the background, k the k-th class."""
    photograph = rng.choice(photographs)
    side = rng.randint(min(photograph.size) // 2, min(photograph.size))
    left, top = (rng.randint(0, length - side) for length in photograph.size)
    image = photograph.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.BICUBIC)
    mask = Image.new("L", (SIDE, SIDE), 0)
    # Cells of a grid, so that objects hardly cover each other.
    cells = rng.sample([(x, y) for x in (0, 1) for y in (0, 1)], rng.choice([2, 3]))
    for x, y in cells:
        label, data = rng.choice(cutouts)
        size = rng.randint(150, 216)
        cutout = Image.open(io.BytesIO(data)).convert("RGBA").resize((size, size), Image.BICUBIC)
        place = tuple(cell * SIDE // 2 + rng.randint(0, SIDE // 2 - size) for cell in (x, y))
        image.paste(cutout, place, cutout)
        # A pixel belongs to what is more than half of it.
        opaque = cutout.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
        mask.paste(label, place, opaque)
    return image, mask


def write_scenes(work, Image, rows):
    """The same scenes twice: with the background as class 0, and with the background ignored."""
    with_background, objects = work / "scenes", work / "objects"
    for folder in (with_background, objects):
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True)
    classes = [", ".join(names) for names in CLASSES.values()]
    (with_background / "classes.txt").write_text("\n".join([", ".join(BACKGROUND), *classes]) + "\n")
    (objects / "classes.txt").write_text("\n".join(classes) + "\n")
    found, groups = emoji.fetch_cutouts(work), list(CLASSES)
    by_class = [[found[code(row)] for row in rows if row["group"] == group] for group in groups]
    # The same number of emoji for each class.
    cutouts = [(label, data) for label, all_data in enumerate(by_class, 1) for data in all_data[:24]]
    rng, photographs = random.Random(0), backgrounds(work, Image)
    # 0 becomes 255, ignored, and k becomes k - 1.
    ignored = [255, *range(255)]
    for index in range(SCENES):
        image, mask = scene(rng, Image, photographs, cutouts)
        for folder, labels in ((with_background, mask), (objects, mask.point(ignored))):
            image.save(folder / f"images/{index:03}.png", compress_level=1)
            labels.save(folder / f"masks/{index:03}.png")
    return with_background, objects


def run(sail, work, vision, pooling, epochs=emoji.EPOCHS, head=POOLED):
    """Trains a head on the emoji for a vision model, and segments the scenes."""
    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    Image = emoji.pillow(work)
    unseen = rows[::HELD_OUT]
    seen = [row for index, row in enumerate(rows) if index % HELD_OUT]
    images = emoji.fetch_images(work, seen, "seen")
    emoji.write_captions(work / "captions.jsonl", seen)
    with_background, objects = write_scenes(work, Image, unseen)

    for old in ("images", "labels", "captions", "run"):
        shutil.rmtree(work / old, ignore_errors=True)
    texts = ["--model", work / "text", "--input", work / "captions.jsonl", "--key-column", "key"]
    encode = ["encode", "images", "--model", vision, "--pooling", pooling, "--input", images]
    sail(*encode, "--dtype", "int8" if pooling == "tokens" else "f16", "--out", work / "images")
    sail("encode", "texts", *texts, "--caption-column", "label", "--out", work / "labels")
    sail("encode", "texts", *texts, "--caption-column", "caption", "--out", work / "captions")
    pair = ["--images", work / "images", "--texts", work / "labels", "--extra-texts", work / "captions"]
    settings = [*head, *"--batch 370 --lr 1e-4 --seed 0".split()]
    head = sail("train", *pair, *settings, "--epochs", str(epochs), "--out", work / "run")["head"]

    models = ["--head", head, "--vision", vision, "--text", work / "text", "--template", "{}"]
    windows = "--short-side 448 --window 224 --stride 112".split()
    for name, data, options in [
        ("background ignored", objects, []),
        ("with background", with_background, ["--background-threshold", "0.4"]),
    ]:
        page = work / f"{data.name}.html"
        command = ["eval", "segment", "--data", data, "--layout", "folder", *models, *windows, *options]
        result = sail(*command, "--report", page)
        baseline = result["baseline"]
        say(f"{name}: mIoU {result['miou']:.1f}, pixel accuracy {result['pixel_accuracy']:.1f};")
        say(f"  `{result['classes'][baseline['class']]}` everywhere: mIoU {baseline['miou']:.1f},"
            f" pixel accuracy {baseline['pixel_accuracy']:.1f}; overlays in {page}")


def main():
    args = emoji.arguments(__doc__, "segmentation")
    emoji.fetch_models(args.work)
    run(emoji.command(args.sail), args.work, args.work / "vision", "pooled")


if __name__ == "__main__":
    main()
