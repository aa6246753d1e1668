"""Runs this workspace and its PyTorch yardstick by turns on the same work, and writes docs/benchmarks.md.

    python benches/compare.py [--rounds 5] [--full]

Ratios within one run are what counts: absolute times drift with the machine. --full adds retrieval at the size of
COCO's 5k test, which takes some minutes. Needs: pip install torch numpy safetensors transformers sentence-transformers pillow
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
    """Watches the largest resident size of a process."""
    while not stop.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                result["peak"] = int(line.split()[1]) / 1024


def run(command, env=None):
    """Runs a command to its end; returns the JSON of its last line of output and its peak memory in MiB."""
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


def training(threads, head, rate, rounds):
    """Seconds and memory of the quickstart's training: this workspace and PyTorch, by turns."""
    common = ["--head", head, "--dim", "512", "--batch", "370", "--epochs", "20", "--lr", rate, "--holdout", "370"]
    if head == "glu":
        common += ["--width", "2"]
    ours, torch = [], []
    for round in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [TARGET / "release/sail", "train", "--images", f"{FEATURES}:image", "--texts", f"{FEATURES}:label"]
            command += [*common, "--evaluate-every", "0", "--no-verify", "--json", "--seed", str(round), "--out", f"{folder}/run"]
            # The time of training alone: neither program's figure has the evaluation in it.
            ours.append(run(command, os.environ | {"RAYON_NUM_THREADS": str(threads)}))
        script = ROOT / "benches/torch_reference.py"
        command = [sys.executable, script, FEATURES, *common, "--seed", str(round), "--threads", str(threads)]
        torch.append(run(command))
    return ours, torch


def row(name, ours, torch):
    pairs = [a["seconds"] / b["seconds"] for (a, _), (b, _) in zip(ours, torch)]
    seconds = [[result["seconds"] / result["steps"] for result, _ in runs] for runs in (ours, torch)]
    medians = [1000 * statistics.median(values) for values in seconds]
    peaks = [statistics.median(peak for _, peak in runs) for runs in (ours, torch)]
    spread = f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
    return f"| {name} | {medians[0]:.0f} ms | {medians[1]:.0f} ms | {spread} | {peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |"


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


def retrieval(full, threads):
    images, texts, dim = (5000, 25000, 1024) if full else (1000, 5000, 256)
    env = os.environ | {"SAIL_BENCH_FULL": "1" if full else "0", "RAYON_NUM_THREADS": str(threads)}
    before = argsort(images, texts, dim, threads)
    subprocess.run(["cargo", "bench", "--bench", "retrieval"], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    sort = (before + argsort(images, texts, dim, threads)) / 2
    size = f"{images}x{texts}x{dim}"
    seconds = {}
    for name in ("counted", "sorted", "product_alone"):
        estimates = TARGET / "criterion/retrieval" / name / size / "new/estimates.json"
        seconds[name] = json.loads(estimates.read_text())["median"]["point_estimate"] / 1e9
    ours = seconds["counted"]
    return (
        f"| {images:,} x {texts:,}, d = {dim} | {ours:.2f} s | {sort:.2f} s, {sort / ours:.1f}x "
        f"| {seconds['sorted']:.2f} s, {seconds['sorted'] / ours:.1f}x | {seconds['product_alone']:.2f} s |"
    )


def encoding(threads, rounds, text_model):
    """Rows of the encoding table: this workspace and the reference libraries, by turns, best of three each time."""
    subprocess.run(["cargo", "bench", "--bench", "encode", "--no-run"], cwd=ROOT, check=True)
    ours = max((TARGET / "release/deps").glob("encode-*"), key=lambda path: (path.suffix == "", path.stat().st_mtime))
    script = [sys.executable, ROOT / "benches/encode_reference.py", "--threads"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model, pictures, captions = (Path(folder) / name for name in ("model", "pictures", "captions.txt"))
        subprocess.run([*script, "1", "make-model", model], check=True)
        subprocess.run([*script, "1", "make-pictures", pictures], check=True)
        rows_json = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
        captions.write_text("\n".join(f"{row['label']}: {', '.join(row['tags'])}" for row in rows_json), encoding="utf-8")

        def compare(name, mine, theirs, count):
            environment = os.environ | {"RAYON_NUM_THREADS": str(count)}
            runs = [(run([ours, *mine], environment), run([*script, str(count), *theirs])) for _ in range(rounds)]
            medians = [statistics.median(pair[side][0]["per_second"] for pair in runs) for side in (0, 1)]
            ratios = [a["per_second"] / b["per_second"] for (a, _), (b, _) in runs]
            peaks = [statistics.median(pair[side][1] for pair in runs) for side in (0, 1)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} | {spread} | {peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |")

        compare("DINOv2-B/14, 224 px, batch 8; PyTorch f32", ["vision", model, "8", "224"], ["vision", "8", "224"], threads)
        bf16 = ["vision", "8", "224", "--bf16"]
        compare("the same; PyTorch bf16 autocast", ["vision", model, "8", "224"], bf16, threads)
        for count in sorted({1, threads}):
            name = f"640 x 480 JPEG to 224 px, {count} thread{'s' if count > 1 else ''}; Pillow"
            compare(name, ["preprocess", model, pictures, str(count)], ["preprocess", pictures], count)
        if text_model:
            texts = [text_model, captions]
            compare("MiniLM, 1,376 captions; sentence-transformers", ["text", *texts], ["text", *texts], threads)
    return rows


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--text-model", type=Path, help="folder of all-MiniLM-L6-v2, as examples/emoji.py leaves in target/emoji/text")
    args = parser.parse_args()
    import torch

    subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    linear = row("linear, 0.9 M parameters", *training(args.threads, "linear", "3e-4", args.rounds))
    glu = row("GLU of width 2, 8.9 M parameters", *training(args.threads, "glu", "1e-4", args.rounds))
    sizes = [retrieval(False, args.threads)] + ([retrieval(True, args.threads)] if args.full else [])
    encoders = encoding(args.threads, args.rounds, args.text_model)
    command = f"python benches/compare.py --rounds {args.rounds}{' --full' if args.full else ''}{' --text-model FOLDER' if args.text_model else ''}"
    text = f"""# Benchmarks

Written by `{command}` on {processor()}, {args.threads} threads, with PyTorch {torch.__version__}. Both programs run
by turns in one session; ratios carry over to other machines better than times do.

## Training step

One step of the quickstart's training (batch 370, 1280 + 384 -> 512, sigmoid loss, Lion), its time taken over
{20 * 2} steps. The ratio is that of the times pair by pair: median (least to most); below 1 this workspace is faster.

| head | this workspace | PyTorch f32 | ratio | peak memory | PyTorch's |
|---|---|---|---|---|---|
{linear}
{glu}

The yardstick is `benches/torch_reference.py`: the published recipe in plain PyTorch. A fixture holds both to the same
losses (`crates/train/tests/torch.rs`).

## Encoding

Items a second; the ratio is that of the rates pair by pair, so above 1 this workspace is faster. DINOv2-B has random
weights. The yardstick is `benches/encode_reference.py`: transformers, sentence-transformers and Pillow.

| work | this workspace | reference | ratio | peak memory | reference's |
|---|---|---|---|---|---|
{chr(10).join(encoders)}

## Retrieval

R@k, mean and median rank in both directions. The rivals make the same product and sort every row and every column of
it: PyTorch by `argsort`, and the bench's own Rust sort on all threads (`benches/retrieval.rs`). The product alone is
the least that any of them can take.

| images x texts | this workspace | PyTorch argsort | sort in Rust | product alone |
|---|---|---|---|---|
{chr(10).join(sizes)}
"""
    (ROOT / "docs/benchmarks.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
