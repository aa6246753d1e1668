"""The baseline of `benches/measures.rs`: k-nearest-neighbor classification by scikit-learn's brute force.

    python benches/measures_reference.py knn KNOWN QUERIES DIM

Prints {"seconds": [...]}, a number a round. On unit rows the nearest by Euclidean distance are those by cosine, and for
the former scikit-learn has its fastest code. Needs: pip install scikit-learn numpy
"""

import argparse
import json
import time

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

CLASSES = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["knn"])
    parser.add_argument("known", type=int)
    parser.add_argument("queries", type=int)
    parser.add_argument("dim", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(0)

    def unit(count):
        rows = rng.standard_normal((count, args.dim), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    known, queries = unit(args.known), unit(args.queries)
    labels = np.arange(args.known) % CLASSES
    seconds = []
    with threadpool_limits(args.threads):
        for _ in range(args.rounds):
            started = time.perf_counter()
            # The square of the distance between unit rows is 2 - 2 cos.
            vote = lambda distance: np.exp((1 - distance**2 / 2 - 1) / 0.07)
            KNeighborsClassifier(20, algorithm="brute", weights=vote, n_jobs=args.threads).fit(known, labels).predict(queries)
            seconds.append(round(time.perf_counter() - started, 3))
    print(json.dumps({"seconds": seconds}))


main()
