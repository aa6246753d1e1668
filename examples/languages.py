"""Captions in 28 languages: retrieval by language, with heads trained on English and on all of them.

    python examples/languages.py [--work target/emoji] [--seeds 3] [--sail target/release/sail]

Names of the emoji images of examples/emoji.py in the languages of emojibase-data (npm), encoded with all-MiniLM-L6-v2, which was
trained on English: registries of packages have no weights of a multilingual model. With `--text-model`, a folder or the id of
such a model, it is encoded with that instead. Prints R@10 of images to names and the reverse on 370 held-out images, the mean of
both and of the seeds, by language. Needs Python 3.11 with pip.
"""

import argparse
import io
import json
import shutil
import statistics
import tarfile
import urllib.request
from pathlib import Path

from emoji import ROOT, code, command, fetch_images, fetch_models, key, say, verify

NAMES = "https://registry.npmjs.org/emojibase-data/-/emojibase-data-17.0.0.tgz"
NAMES_SHA256 = "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"
TRAINING = "--projector linear --dim 512 --batch 370 --lr 3e-4 --holdout 370".split()
EPOCHS = {"en": 50, "all": 200}


def fetch_names(work):
    """The name of every code in every language."""
    archive = work / "emojibase.tgz"
    if not archive.exists():
        say(f"fetching {NAMES}")
        with urllib.request.urlopen(NAMES, timeout=300) as response:
            archive.write_bytes(verify(response.read(), NAMES_SHA256, NAMES))
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            path = Path(member.name)
            if path.name == "data.json":
                entries = json.load(io.TextIOWrapper(members.extractfile(member), encoding="utf-8"))
                found[path.parent.name] = {code(entry): entry["label"] for entry in entries if entry.get("label")}
    return dict(sorted(found.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/emoji")
    parser.add_argument("--sail", type=Path, default=ROOT / "target/release/sail")
    parser.add_argument("--text-model")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    work, sail = args.work, command(args.sail)
    folder = work / "languages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    fetch_models(work)
    sail("encode", "images", "--model", work / "vision", "--pooling", "pooled", "--input", fetch_images(work, rows),
         "--out", folder / "images")
    stores = {}
    for language, names in fetch_names(work).items():
        captions = folder / f"{language}.jsonl"
        with open(captions, "w", encoding="utf-8") as lines:
            for row in rows:
                if name := names.get(code(row)):
                    lines.write(json.dumps({"key": key(row), "caption": name}) + "\n")
        stores[language] = folder / language
        sail("encode", "texts", "--model", args.text_model or work / "text", "--input", captions, "--out", stores[language])

    others = [f"--language={name}={store}" for name, store in stores.items() if name != "en"]
    scores = {name: {language: [] for language in stores} for name in EPOCHS}
    chance = {}
    for name, epochs in EPOCHS.items():
        texts = stores["en"] if name == "en" else ",".join(map(str, stores.values()))
        for seed in range(args.seeds):
            run = folder / f"run-{name}-{seed}"
            split = ["--images", folder / "images", "--seed", str(seed)]
            trained = sail("train", *split, "--texts", texts, *TRAINING, "--epochs", str(epochs), "--out", run)
            found = sail("eval", "retrieval", *split, "--texts", stores["en"], *others, "--head", trained["head"],
                         "--holdout", "370")
            for row in found["languages"]:
                language = "en" if row["language"] == "texts" else row["language"]
                scores[name][language].append((row["i2t"]["r@10"] + row["t2i"]["r@10"]) / 2)
                chance[language] = row["chance"]["i2t"]["r@10"]
    say("| language | head of English | head of all languages | chance |\n|---|---|---|---|")
    for language in stores:
        english, every = (statistics.mean(scores[name][language]) for name in EPOCHS)
        say(f"| {language} | {english:.1f} | {every:.1f} | {chance[language]:.1f} |")


if __name__ == "__main__":
    main()
