"""Runs the searches of `benches/search.rs` beside faiss and usearch on the same rows and queries, and prints the table of
docs/search-benchmarks.md.

    python benches/search.py FOLDER... [--threads 2] [--peers flat,ivfpq,hnsw,usearch] [--ours full,int8,bit]
        [--ef 400]

Each folder is one that `cargo bench --bench search -- write FOLDER ...` wrote. A query asks for 100 rows and is timed on its own;
peers hold their vectors in memory. Nearest rows for recall are those of the full scan. Requires: pip install faiss-cpu usearch
numpy safetensors
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DEPTHS = (10, 100)


def rows_of(folder):
    """The rows of the store, in f32."""
    manifest = json.loads((folder / "rows/manifest.json").read_text())
    rows = np.empty((manifest["rows"], manifest["dim"]), np.float32)
    start = 0
    for shard in manifest["shards"]:
        part = load_file(folder / "rows" / shard["file"])["embeddings"]
        rows[start : start + len(part)] = part
        start += len(part)
    return rows


def flat(faiss, rows):
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return [("faiss flat", index)]


def ivfpq(faiss, rows):
    lists = int(4 * len(rows) ** 0.5)
    index = faiss.index_factory(rows.shape[1], f"IVF{lists},PQ128", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:: max(1, len(rows) // (40 * lists))])
    index.add(rows)
    index.nprobe = max(16, lists // 16)
    return [(f"faiss IVF{lists},PQ128, {index.nprobe} probes", index)]


def hnsw(faiss, rows):
    index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(rows)
    return [("faiss HNSW32", index)]


class Usearch:
    """usearch with the interface of faiss."""

    def __init__(self, rows, threads):
        from usearch.index import Index

        self.index = Index(ndim=rows.shape[1], metric="ip", dtype="f16", expansion_search=400)
        self.index.add(np.arange(len(rows)), rows, threads=threads)

    def search(self, queries, k):
        found = self.index.search(queries, k, threads=1)
        return found.distances, np.atleast_2d(found.keys)


def measure(name, index, bytes, seconds, rows, queries):
    line = {"name": name, "rows": len(rows), "build_seconds": seconds, "bytes": bytes}
    for query in queries:
        values = np.array(query["values"], np.float32).reshape(-1, rows.shape[1])
        found, milliseconds = [], []
        for value in values:
            start = time.perf_counter()
            found.append(index.search(value[None], DEPTHS[1])[1][0])
            milliseconds.append(1000 * (time.perf_counter() - start))
        common = lambda depth: [len(set(f[:depth].tolist()) & set(n[:depth])) / depth for f, n in zip(found, query["nearest"])]
        start = time.perf_counter()
        index.search(values[:32], DEPTHS[1])
        batch = 1000 * (time.perf_counter() - start) / len(values[:32])
        recall = [float(np.mean(common(depth))) for depth in DEPTHS]
        p50, p99 = np.percentile(milliseconds, [50, 99])
        line[query["kind"]] = {"p50": p50, "p99": p99, "batch": batch, "recall": recall}
    return line


def memory(faiss, name, index, rows):
    """Bytes of an index. Those with the vectors are not serialised, which would copy them."""
    match name:
        case "flat":
            return rows.nbytes
        case "hnsw":
            return rows.nbytes + len(rows) * 4 * 2 * 32
        case "usearch":
            return index.index.memory_usage
    return len(faiss.serialize_index(index))


def peers(folder, names, threads, candidates):
    import faiss

    faiss.omp_set_num_threads(threads)
    rows, queries = rows_of(folder), json.loads((folder / "queries.json").read_text())
    for name in names:
        start = time.perf_counter()
        if name == "usearch":
            built = [("usearch, f16, expansion 400", Usearch(rows, threads))]
        else:
            built = {"flat": flat, "ivfpq": ivfpq, "hnsw": hnsw}[name](faiss, rows)
        seconds = time.perf_counter() - start
        for title, index in built:
            size = memory(faiss, name, index, rows)
            for ef in candidates if name == "hnsw" else [None]:
                if ef is not None:
                    index.hnsw.efSearch = ef
                label = title if ef is None else f"{title}, ef {ef}"
                yield measure(label, index, size, seconds, rows, queries)


def ours(folder, names, threads):
    programs = (path for path in (TARGET / "release/deps").glob("search-*") if path.suffix == "")
    program = max(programs, key=lambda path: path.stat().st_mtime)
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    output = subprocess.run([program, "run", folder, *names], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in output.stdout.splitlines()]


def show(line):
    text, image = line["text"], line["image"]
    recalls = " | ".join(f"{recall:.3f}" for kind in (text, image) for recall in kind["recall"])
    megabytes = line["bytes"] / 1e6
    print(
        f"| {line['name']} | {line['rows']:,} | {line['build_seconds']:.1f} s | {megabytes:,.0f} MB | {text['p50']:.1f} ms"
        f" | {text['p99']:.1f} ms | {text['batch']:.1f} ms | {recalls} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="flat,ivfpq,hnsw,usearch")
    parser.add_argument("--ours", default="full,int8,bit")
    parser.add_argument("--ef", default="400", help="candidates of HNSW")
    args = parser.parse_args()
    names = lambda text: [name for name in text.split(",") if name]
    print("| search | rows | build | memory | p50 | p99 | of 32 | text @10 | @100 | image @10 | @100 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for folder in args.folders:
        for line in ours(folder, names(args.ours), args.threads) if args.ours else []:
            show(line)
        for line in peers(folder, names(args.peers), args.threads, [int(ef) for ef in names(args.ef)]):
            show(line)


if __name__ == "__main__":
    sys.exit(main())
