"""How good is a head from 50 to 1,000 pairs? Compares the methods of `sail` on small sets of pairs.

    python benches/few_pairs_data.py [--work target/few-pairs]
    python benches/few_pairs.py      [--work target/few-pairs] [--methods NAME ...] [--sizes 250 ...] [--jobs 2]
    cargo bench --bench few_pairs -- "$PWD/target/few-pairs/results.jsonl" "$PWD/report.html"

Sets and encoders are those of few_pairs_data.py; an image has two captions. Of each set, TEST images are the test pairs of all
sizes and seeds. The others are shuffled by a seed; the first 50, 100, ... are the training pairs, so that those of a size contain
those of a smaller one, and all others are unpaired images and captions for the methods that use some. Settings are chosen once
per method, for all sets, encoders and sizes: the best mean R@1 on validation pairs after training on 250 pairs of seed 0. The
validation pairs are the last of the shuffled ones, never test pairs.

A result is a line of results.jsonl in the work folder. Those that are there are not computed again, so an interrupted run
continues, and a new method is computed alone. Needs Python 3.11 and nothing else.
"""

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TEST = {"emoji": 300, "openclipart": 500}
ENCODERS = ["efficientnet", "dinov2"]
SIZES = [50, 100, 250, 500, 1000]
SEEDS = [0, 1, 2]
TUNING_SIZE, VALIDATION = 250, 300


def grid(command, *options):
    """All combinations of the options that a method is tuned over, appended to its command."""
    return [" ".join(filter(None, [command, *chosen])) for chosen in product(*options)]


# A training set is one batch; an epoch is a step.
TRAIN = "train --batch 1024 --dim 512"
LINEAR = f"{TRAIN} --projector linear"
REGULARIZATION = ["", "--regularization 0.1", "--regularization 1"]
STEPS = ["--epochs 50", "--epochs 100"]

# The name of a method, and the settings to choose from: commands of `sail`, without features, seed and output. Commands that are
# joined by `&&` follow each other. {head} is the head of the one before; {unpaired-images} and {unpaired-texts} are stores of
# what is not a training or test pair.
METHODS = {
    "SAIL, linear": grid(LINEAR, ["--lr 3e-4", "--lr 1e-3", "--lr 3e-3"], STEPS, ["--weight-decay 1e-4", "--weight-decay 1"]),
    "SAIL, GLU": grid(f"{TRAIN} --projector glu --width 1", ["--lr 1e-4", "--lr 3e-4", "--lr 1e-3"], STEPS),
    "Procrustes": grid("fit procrustes", ["", "--dim 100", "--dim 200"]),
    "CCA": grid("fit cca", ["", "--dim 100"], REGULARIZATION),
    "CSA": grid("fit csa", ["", "--dim 100"], REGULARIZATION),
    "Ridge": grid("fit ridge", ["--direction image-to-text", "--direction text-to-image"], REGULARIZATION),
    "CCA, then SAIL": grid(
        "fit cca --regularization 1 && train --warm-start {head} --batch 1024",
        ["--lr 1e-5", "--lr 1e-4"], STEPS,
    ),
    "STRUCTURE": grid(f"{LINEAR} --lr 1e-3 --epochs 100", ["--structure 1e-3", "--structure 1e-2"]),
    "SOTAlign": grid(
        f"{LINEAR} --lr 1e-3 --epochs 50 --teacher cca --unpaired-batch 128"
        " --unpaired-images {unpaired-images} --unpaired-texts {unpaired-texts}",
        ["--klot 1e-4", "--klot 1e-3"],
    ),
    "FuseMix, linear": grid(f"{LINEAR} --mixup 1 --lr 1e-3", ["--epochs 100", "--epochs 200"]),
    "FuseMix, residual MLP": grid(
        f"{TRAIN} --projector residual-mlp --depth 1 --width 1 --mixup 1 --loss info-nce", ["--lr 3e-4", "--lr 1e-3"], STEPS
    ),
}


def order(keys, seed):
    """A shuffle that depends on the keys and the seed alone."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())


class Splits:
    """Test, validation, training and unpaired keys of a set, as stores."""

    def __init__(self, work, sail, name):
        self.folder, self.sail, self.name = work / name, sail, name
        with open(self.folder / "captions.jsonl", encoding="utf-8") as lines:
            keys = order({json.loads(line)["key"] for line in lines}, "test")
        self.test, self.pool = keys[: TEST[name]], keys[TEST[name] :]
        self.lock = threading.Lock()

    def keys(self, part, size, seed):
        if part == "test":
            return self.test
        shuffled = order(self.pool, seed)
        if part == "validation":
            return shuffled[-VALIDATION:]
        return shuffled[:size] if part == "train" else shuffled[size:]

    def store(self, features, part, size=None, seed=None):
        """The rows of a store whose keys are in a part."""
        name = "-".join(str(word) for word in (features, part, size, seed) if word is not None)
        out = self.folder / "parts" / name
        with self.lock:
            if not out.exists():
                out.parent.mkdir(exist_ok=True)
                listed = out.with_suffix(".txt")
                listed.write_text("".join(key + "\n" for key in self.keys(part, size, seed)), encoding="utf-8")
                self.sail("store", "filter", self.folder / features, "--keys", listed, "--out", out)
        return out


class Results:
    """The finished cells, in a file with a line for each."""

    FIELDS = ("split", "set", "encoder", "method", "command", "size", "seed")

    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()
        self.cells = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self.keep(json.loads(line))

    def keep(self, cell):
        self.cells[tuple(cell[field] for field in self.FIELDS)] = cell

    def has(self, cell):
        return tuple(cell[field] for field in self.FIELDS) in self.cells

    def add(self, cell):
        with self.lock, open(self.path, "a", encoding="utf-8") as lines:
            self.keep(cell)
            lines.write(json.dumps(cell) + "\n")


def command(program):
    """A function that runs `sail` and returns its JSON."""

    def sail(*arguments):
        words = [str(program), *map(str, arguments), "--json", "--threads", "1"]
        output = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        if output.returncode != 0:
            sys.exit(f"{shlex.join(words)}\n{output.stderr}")
        return json.loads(output.stdout.splitlines()[-1])

    return sail


def run(cell, splits, sail):
    """Trains the head of a cell and adds its scores on the split."""
    chosen, size, seed, encoder = splits[cell["set"]], cell["size"], cell["seed"], cell["encoder"]
    unpaired = {
        "{unpaired-images}": lambda: chosen.store(encoder, "unpaired", size, seed),
        "{unpaired-texts}": lambda: chosen.store("texts", "unpaired", size, seed),
    }
    pairs = lambda *part: ["--images", chosen.store(encoder, *part), "--texts", chosen.store("texts", *part)]
    head, seconds = None, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for stage, text in enumerate(cell["command"].split(" && ")):
            words = [unpaired[word]() if word in unpaired else head if word == "{head}" else word for word in text.split()]
            # `fit` writes a file, `train` a folder.
            out = Path(folder) / (f"{stage}.safetensors" if words[0] == "fit" else f"{stage}")
            made = sail(*words, *pairs("train", size, seed), "--seed", seed, "--out", out)
            head, seconds = made["head"], seconds + made["seconds"]
        part = ("test",) if cell["split"] == "test" else ("validation", None, seed)
        scores = sail("eval", "retrieval", "--head", head, *pairs(*part))
    return {**cell, "i2t": scores["i2t"], "t2i": scores["t2i"], "seconds": round(seconds, 2)}


def mean_recall(cell):
    return (cell["i2t"]["r@1"] + cell["t2i"]["r@1"]) / 2


def choose(method, results):
    """The setting with the best mean on the validation pairs, and its score."""
    tuned = [cell for cell in results.cells.values() if cell["split"] == "validation" and cell["method"] == method]
    means = {}
    for setting in METHODS[method]:
        scores = [mean_recall(cell) for cell in tuned if cell["command"] == setting]
        means[setting] = sum(scores) / len(scores)
    return max(means, key=means.get), means


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/few-pairs")
    parser.add_argument("--sail", type=Path, default=ROOT / "target/release/sail")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--tune-only", action="store_true", help="choose settings, without a look at the test pairs")
    parser.add_argument("--jobs", type=int, default=2, help="cells that are computed at once, each on one thread")
    args = parser.parse_args()
    sail = command(args.sail)
    splits = {name: Splits(args.work, sail, name) for name in TEST}
    results = Results(args.work / "results.jsonl")

    def compute(cells):
        missing = [cell for cell in cells if not results.has(cell)]
        done = 0

        def one(cell):
            nonlocal done
            found = run(cell, splits, sail)
            results.add(found)
            done += 1
            print(f"{done} of {len(missing)}  {mean_recall(found):5.1f}  {found['seconds']:6.1f} s  "
                  + " ".join(str(cell[field]) for field in Results.FIELDS), flush=True)

        pool = ThreadPoolExecutor(args.jobs)
        try:
            for future in [pool.submit(one, cell) for cell in missing]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def cells(split, method, commands, sizes, seeds):
        for name, encoder, text, size, seed in product(TEST, ENCODERS, commands, sizes, seeds):
            yield {"split": split, "set": name, "encoder": encoder, "method": method, "command": text, "size": size, "seed": seed}

    for method in args.methods:
        compute(cells("validation", method, METHODS[method], [TUNING_SIZE], [0]))
        chosen, means = choose(method, results)
        for setting, mean in means.items():
            print(f"{'*' if setting == chosen else ' '} {method}  {mean:5.1f}  {setting}", flush=True)
        if not args.tune_only:
            compute(cells("test", method, [chosen], args.sizes, SEEDS))


if __name__ == "__main__":
    main()
