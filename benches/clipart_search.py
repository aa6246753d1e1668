"""Index and search 7,331 drawings: the clip art of Debian's package openclipart-svg, in the public domain.

    python benches/clipart_search.py [--work target/few-pairs] [--sail target/release/sail]

Draws all files as images (few_pairs_data.py says how; 127 are empty), in the folders of the package, and writes their titles and
keywords to a table. The head is fitted by CCA to the emoji and the 2,327 drawings of few_pairs_data.py but 500 of them, with
DINOv2-S and all-MiniLM-L6-v2, and all drawings are indexed with it. Prints what `index` took and what some queries find, and
writes a contact sheet for each of them. Needs Python 3.11 with pip. Writes to the work folder

    clipart/images  clipart/captions.csv  clipart/head.safetensors  clipart/index  clipart/QUERY.html
"""

import csv
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import few_pairs_data
from few_pairs_data import ROOT, emoji, say

STORES = {"images": "dinov2", "texts": "texts"}
QUERIES = ["a red car", "a cat", "a sailing boat on the sea", "a musical instrument", "fruit", "a flag with a star", "a dog - cat"]


def draw_all(work):
    """The folder of the images and the table of their captions."""
    folder, table = work / "clipart/images", work / "clipart/captions.csv"
    if folder.exists():
        return folder, table
    few_pairs_data.libraries(work)
    files = few_pairs_data.fetch_clipart(work)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rows, left_out = [], Counter()
    with ProcessPoolExecutor(initializer=sys.path.insert, initargs=(0, str(work / "python"))) as pool:
        for (path, svg), png in zip(files.items(), pool.map(few_pairs_data.render, files.values(), chunksize=8)):
            if not isinstance(png, bytes):
                left_out[png] += 1
                continue
            key = path.removesuffix(".svg") + ".png"
            (partial / key).parent.mkdir(parents=True, exist_ok=True)
            (partial / key).write_bytes(png)
            title, keywords = few_pairs_data.description(svg)
            rows.append([key, title, ", ".join(keywords), len(svg)])
    with open(table, "w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([["key", "caption", "keywords", "bytes"], *rows])
    partial.rename(folder)
    say(f"{len(files)} drawings, {len(rows)} images; left out: {dict(left_out)}")
    return folder, table


def main():
    args = emoji.arguments(__doc__, "few-pairs")
    work, sail = args.work, emoji.command(args.sail)
    emoji.fetch_models(work)
    vision = few_pairs_data.dinov2_small.convert(work)
    sets = {"emoji": few_pairs_data.emoticons(work), "openclipart": few_pairs_data.openclipart(work)}
    folder, table = draw_all(work)

    for name, (images, captions) in sets.items():
        texts = ["--input", captions, "--key-column", "key", "--caption-column", "caption"]
        sail("encode", "texts", "--model", work / "text", *texts, "--out", work / name / "texts", "--resume")
        images = ["--pooling", few_pairs_data.MODELS["dinov2"], "--input", images]
        sail("encode", "images", "--model", vision, *images, "--out", work / name / "dinov2", "--resume")
    pairs = [f"--{side}={','.join(str(work / name / store) for name in sets)}" for side, store in STORES.items()]
    head = work / "clipart/head.safetensors"
    sail("fit", "cca", *pairs, "--holdout", "500", "--out", head)
    say(f"held out: {json.dumps(sail('eval', 'retrieval', '--head', head, *pairs, '--holdout'))}")

    index = work / "clipart/index"
    models = ["--vision", vision, "--text", work / "text"]
    columns = ["--captions", table, "--columns", "keywords,bytes"]
    for what in ["indexed", "indexed again"]:
        start = time.time()
        found = sail("index", folder, "--head", head, *models, *columns, "--out", index)
        size = sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
        say(f"{what} in {time.time() - start:.1f} s, {size / 1e6:.1f} MB: {json.dumps(found)}")
    for query in QUERIES:
        start = time.time()
        hits = sail("search", index, query, "-k", "24", "--report", work / "clipart" / f"{query.replace(' ', '-')}.html")
        say(f"{query}: {time.time() - start:.2f} s")
        for hit in hits["hits"][:6]:
            say(f"  {hit['score']:.3f} {hit['key']} ({'; '.join(hit['captions'])})")


if __name__ == "__main__":
    main()
