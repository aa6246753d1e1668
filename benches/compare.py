"""Runs this workspace and its PyTorch baseline alternately on the same work, and writes docs/benchmarks.md.

    python benches/compare.py [--sections training,alignment,encoding,retrieval,assessment] [--rounds 5] [--full]

Compare ratios within one run: absolute times drift with the machine. Sections that are not run are kept. --full adds
sizes that take minutes: retrieval on COCO's 5k test, and losses over 32,768 pairs. Requires:
pip install torch numpy safetensors transformers sentence-transformers pillow scikit-learn
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FEATURES = ROOT / "examples/data/emoji-features.safetensors"


def peak_mib(pid, stop, result):
    """Tracks the peak resident set size of a process."""
    while not stop.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                result["peak"] = int(line.split()[1]) / 1024


def run(command, env=None):
    """Runs a command; returns the JSON of its last line of output and its peak memory in MiB."""
    result, stop = {"peak": float("nan")}, threading.Event()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    watcher = threading.Thread(target=peak_mib, args=(process.pid, stop, result))
    watcher.start()
    output, _ = process.communicate()
    stop.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"failed with {process.returncode}: {' '.join(map(str, command))}")
    return json.loads(output.strip().splitlines()[-1]), result["peak"]


def training(threads, projector, rate, rounds):
    """Seconds and memory of the quickstart's training: this workspace and PyTorch, alternating."""
    common = ["--projector", projector, "--dim", "512", "--batch", "370", "--epochs", "20", "--lr", rate, "--holdout", "370"]
    if projector == "glu":
        common += ["--width", "2"]
    ours, torch = [], []
    for round in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [TARGET / "release/sail", "train", "--images", f"{FEATURES}:image", "--texts", f"{FEATURES}:label"]
            command += [*common, "--evaluate-every", "0", "--no-verify", "--json", "--seed", str(round), "--out", f"{folder}/run"]
            # Training time only, in both programs: evaluation is excluded.
            ours.append(run(command, os.environ | {"RAYON_NUM_THREADS": str(threads)}))
        script = ROOT / "benches/torch_reference.py"
        command = [sys.executable, script, FEATURES, *common, "--seed", str(round), "--threads", str(threads)]
        torch.append(run(command))
    return ours, torch


def spread(ratios):
    """Median, minimum and maximum."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def row(name, ours, torch):
    ratios = [a["seconds"] / b["seconds"] for (a, _), (b, _) in zip(ours, torch)]
    seconds = [[result["seconds"] / result["steps"] for result, _ in runs] for runs in (ours, torch)]
    medians = [1000 * statistics.median(values) for values in seconds]
    peaks = [statistics.median(peak for _, peak in runs) for runs in (ours, torch)]
    return f"| {name} | {medians[0]:.0f} ms | {medians[1]:.0f} ms | {spread(ratios)} | {peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |"


def bench(name):
    """Path of the newest binary of a bench."""
    subprocess.run(["cargo", "bench", "--bench", name, "--no-run"], cwd=ROOT, check=True)
    programs = (path for path in (TARGET / "release/deps").glob(f"{name}-*") if path.suffix == "")
    return max(programs, key=lambda path: path.stat().st_mtime)


def alignment(threads, rounds, full):
    """Rows of the alignment tables: benches/align.rs and benches/align_reference.py, alternating."""
    program, environment = bench("align"), os.environ | {"RAYON_NUM_THREADS": str(threads)}
    script = [sys.executable, ROOT / "benches/align_reference.py", "--threads", str(threads)]
    side = 4096
    loss, step = ["8192", "512", "1"], ["glu", "768", "768", "512", "2", "4096"]
    works = {
        "loss, 8,192 pairs squared, d = 512": (["loss", "sigmoid", *loss], ["loss", *loss], 6 * 8192**2 * 512),
        "step, 4,096 pairs, 768 + 768 -> 512, GLU of width 2": (["step", *step], ["step", *step], None),
    }
    runs = {name: [] for name in works}
    for _ in range(rounds):
        for name, (mine, theirs, operations) in works.items():
            product = run([program, "product", str(side)], environment)
            half = run([program, *mine, "--precision", "bf16"], environment)
            results = [product, run([program, *mine], environment), run([*script, *theirs]), run([*script, "--bf16", *theirs]), half]
            runs[name].append([(statistics.median(result["seconds"]), peak) for result, peak in results])
    rows = []
    for name, (_, _, operations) in works.items():
        median = lambda of: statistics.median(map(of, runs[name]))
        faster = lambda side, by: spread([results[side][0] / results[by][0] for results in runs[name]])
        share = f"{100 * median(lambda r: operations / r[1][0] / (2 * side**3 / r[0][0])):.0f}%" if operations else ""
        times = " | ".join(f"{median(lambda r: r[side][0]):.2f} s" for side in (1, 4, 2, 3))
        peaks = " | ".join(f"{median(lambda r: r[side][1]):.0f} MiB" for side in (1, 2))
        rows.append(f"| {name} | {times} | {faster(2, 1)} | {faster(3, 4)} | {share} | {peaks} |")
    curve = []
    for batch in (8192, 16384, 32768) if full else (4096, 8192, 16384):
        result, peak = run([program, "loss", "sigmoid", str(batch), "1024", "2", "0"], environment)
        everything = 2 * batch**2 * 4 / 2**20
        curve.append(f"| {batch:,} | {result['seconds'][0]:.1f} s | {peak:.0f} MiB | {everything:,.0f} MiB |")
    return rows, curve


def argsort(images, texts, dim, threads):
    """Seconds that PyTorch takes to multiply and to sort every row and every column of the scores."""
    import torch

    torch.set_num_threads(threads)
    a, b = (torch.nn.functional.normalize(torch.randn(n, dim), dim=-1) for n in (images, texts))
    started = time.perf_counter()
    scores = a @ b.T
    scores.argsort(dim=1, descending=True)
    scores.T.argsort(dim=1, descending=True)
    return time.perf_counter() - started


def retrieval(full, threads, rounds):
    images, texts, dim = (5000, 25000, 1024) if full else (1000, 5000, 256)
    before = argsort(images, texts, dim, threads)
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    times, _ = run([bench("retrieval"), str(images), str(dim), str(rounds)], environment)
    argsorted = (before + argsort(images, texts, dim, threads)) / 2
    ours, sort, product = (statistics.median(times[name]) for name in ("counted", "sorted", "product"))
    return (
        f"| {images:,} x {texts:,}, d = {dim} | {ours:.2f} s | {argsorted:.2f} s, {argsorted / ours:.1f}x "
        f"| {sort:.2f} s, {sort / ours:.1f}x | {product:.2f} s |"
    )


def encoding(threads, rounds, text_model):
    """Rows of the encoding table: this workspace and the reference libraries, alternating, best of three each."""
    ours = bench("encode")
    script = [sys.executable, ROOT / "benches/encode_reference.py", "--threads"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model, images, captions = (Path(folder) / name for name in ("model", "images", "captions.txt"))
        subprocess.run([*script, "1", "make-model", model], check=True)
        subprocess.run([*script, "1", "make-images", images], check=True)
        rows_json = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
        captions.write_text("\n".join(f"{row['label']}: {', '.join(row['tags'])}" for row in rows_json), encoding="utf-8")

        def compare(name, mine, theirs, count):
            environment = os.environ | {"RAYON_NUM_THREADS": str(count)}
            runs = [(run([ours, *mine], environment), run([*script, str(count), *theirs])) for _ in range(rounds)]
            medians = [statistics.median(pair[side][0]["per_second"] for pair in runs) for side in (0, 1)]
            ratios = [a["per_second"] / b["per_second"] for (a, _), (b, _) in runs]
            peaks = [statistics.median(pair[side][1] for pair in runs) for side in (0, 1)]
            rows.append(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} | {spread(ratios)} | {peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |")

        compare("DINOv2-B/14, 224 px, batch 8; PyTorch f32", ["vision", model, "8", "224"], ["vision", "8", "224"], threads)
        bf16 = ["--precision", "bf16"]
        compare("the same in bf16; PyTorch bf16 autocast", ["vision", model, "8", "224", *bf16], ["vision", "8", "224", "--bf16"], threads)
        for count in sorted({1, threads}):
            name = f"640 x 480 JPEG to 224 px, {count} thread{'s' if count > 1 else ''}; Pillow"
            compare(name, ["preprocess", model, images, str(count)], ["preprocess", images], count)
        if text_model:
            texts = [text_model, captions]
            compare("MiniLM, 1,376 captions; sentence-transformers", ["text", *texts], ["text", *texts], threads)
            compare("the same in bf16; sentence-transformers under bf16 autocast", ["text", *texts, *bf16], ["text", *texts, "--bf16"], threads)
    return rows


# Flags of Linux, the widest instructions first: those of products in f32, and in bf16.
INSTRUCTIONS = [{"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}, {"avx512_bf16": "AVX-512 BF16"}]


def cpu():
    """Name of the CPU, with the instructions that this workspace uses on it."""
    if not (info := Path("/proc/cpuinfo")).exists():
        return platform.processor()
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = (fields.get("flags") or fields.get("Features", "")).split()
    used = [next((name for flag, name in kind.items() if flag in flags), None) for kind in INSTRUCTIONS]
    return f"{fields.get('model name', platform.machine())} ({' and '.join(filter(None, used))})"


def training_section(args):
    linear = row("linear, 0.9 M parameters", *training(args.threads, "linear", "3e-4", args.rounds))
    glu = row("GLU of width 2, 8.9 M parameters", *training(args.threads, "glu", "1e-4", args.rounds))
    return f"""One step of the quickstart's training (batch 370, 1280 + 384 -> 512, sigmoid loss, Lion), averaged over
{20 * 2} steps. The ratio compares each pair of runs: median (minimum to maximum); below 1 this workspace is faster.

| head | this workspace | PyTorch f32 | ratio | peak memory | PyTorch's |
|---|---|---|---|---|---|
{linear}
{glu}

The baseline is `benches/torch_reference.py`, the published recipe in plain PyTorch. A test
compares this workspace with another PyTorch version, built of PyTorch's own parts (`crates/train/tests/torch.rs`)."""


def alignment_section(args):
    rows, curve = alignment(args.threads, args.rounds, args.full)
    return f"""Value and gradients of the sigmoid loss, and a whole training step. Ratios are PyTorch's time divided by ours, per run:
median (minimum to maximum); above 1 this workspace is faster. Efficiency is the throughput in FLOP/s relative to one large
f32 matrix product, measured in the same minute.

| work | this workspace, f32 | bf16 | PyTorch f32 | bf16 autocast | speedup in f32 | in bf16 | efficiency | peak memory | PyTorch's |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

The loss by batch size, d = 1,024, with one extra caption set. Time grows quadratically, memory with the embeddings; the last
column is the size of the two matrices of all pairs.

| batch | time | peak memory, inputs included | all pairs |
|---|---|---|---|
{chr(10).join(curve)}

The programs are `benches/align.rs` and `benches/align_reference.py`."""


def encoding_section(args):
    return f"""Items per second; the ratio compares each pair of runs, above 1 this workspace is faster. DINOv2-B has random
weights. The baseline is `benches/encode_reference.py`: transformers, sentence-transformers and Pillow.

| work | this workspace | reference | ratio | peak memory | reference's |
|---|---|---|---|---|---|
{chr(10).join(encoding(args.threads, args.rounds, args.text_model))}"""


def retrieval_section(args):
    sizes = [retrieval(full, args.threads, args.rounds) for full in ([False, True] if args.full else [False])]
    return f"""R@k, mean and median rank in both directions. The baselines compute the same product and sort every row and every column:
PyTorch with `argsort`, and a parallel sort in Rust (`benches/retrieval.rs`). The product alone is a lower bound for all of
them.

| images x texts | this workspace | PyTorch argsort | sort in Rust | product alone |
|---|---|---|---|---|
{chr(10).join(sizes)}"""


def assessment_section(args):
    program, environment = bench("measures"), os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    size = ["knn", *map(str, (100_000, 10_000, 768) if args.full else (20_000, 2_000, 768))]
    script = [sys.executable, ROOT / "benches/measures_reference.py", "--threads", str(args.threads)]
    runs = [(run([program, *size], environment), run([*script, *size])) for _ in range(args.rounds)]
    seconds = lambda side: statistics.median(pair[side][0]["seconds"][0] for pair in runs)
    peak = lambda side: statistics.median(pair[side][1] for pair in runs)
    faster = spread([theirs["seconds"][0] / ours["seconds"][0] for (ours, _), (theirs, _) in runs])
    rows, first, second = (50_000, 2048, 1024) if args.full else (10_000, 2048, 1024)
    kernels = 2 * rows**2 * 4 / 2**20
    inputs = rows * (first + second) * 4 / 2**20
    table = []
    for name, measure in (("mutual k-NN, k = 10", "mutual"), ("CKA", "cka")):
        result, memory = run([program, measure, str(rows), str(first), str(second)], environment)
        table.append(f"| {name} | {result['seconds'][0]:.1f} s | {memory:,.0f} MiB |")
    known, queries, dim = (int(number) for number in size[1:])
    return f"""k-nearest-neighbor classification, k = 20, weighted votes. The baseline is scikit-learn's brute force on unit rows
(`benches/measures_reference.py`); the speedup is its time divided by ours, per run: median (minimum to maximum).

| training rows x queries | this workspace | scikit-learn | speedup | peak memory | scikit-learn's |
|---|---|---|---|---|---|
| {known:,} x {queries:,}, d = {dim} | {seconds(0):.2f} s | {seconds(1):.2f} s | {faster} | {peak(0):,.0f} MiB | {peak(1):,.0f} MiB |

Measures of {rows:,} pairs, {first} and {second} dimensions, without permutations. The features take {inputs:,.0f} MiB; two
matrices of all similarities would take {kernels:,.0f} MiB.

| measure | time | peak memory, features included |
|---|---|---|
{chr(10).join(table)}"""


HEAD = """# Benchmarks

Written by `benches/compare.py`, each section by the command at its end. Both programs run alternately in one session; ratios
transfer to other machines better than times. The last section is written by hand, because it takes too long to repeat."""

SECTIONS = {
    "training": ("Training step", training_section),
    "alignment": ("Large batches", alignment_section),
    "encoding": ("Encoding", encoding_section),
    "retrieval": ("Retrieval", retrieval_section),
    "assessment": ("Assessment", assessment_section),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--text-model", type=Path, help="folder of all-MiniLM-L6-v2, as examples/emoji.py leaves in target/emoji/text")
    args = parser.parse_args()
    import torch

    chosen = args.sections.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        sys.exit(f"unknown section {', '.join(sorted(unknown))}, expected some of {', '.join(SECTIONS)}")
    subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    path = ROOT / "docs/benchmarks.md"
    sections = dict(part.split("\n", 1) for part in path.read_text().split("\n## ")[1:])
    command = f"python benches/compare.py --sections SECTION --rounds {args.rounds}{' --full' if args.full else ''}"
    for name in chosen:
        title, measure = SECTIONS[name]
        origin = f"`{command.replace('SECTION', name)}`, {cpu()}, {args.threads} threads, PyTorch {torch.__version__}."
        sections[title] = f"\n{measure(args)}\n\n{origin}\n"
        # Sections written by hand come last.
        titles = list(dict.fromkeys([title for title, _ in SECTIONS.values()] + list(sections)))
        parts = [f"## {title}\n{sections[title]}" for title in titles if title in sections]
        path.write_text(HEAD + "\n\n" + "\n".join(part.rstrip() + "\n" for part in parts))
        print(sections[title])


if __name__ == "__main__":
    main()
