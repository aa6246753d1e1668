"""Runs the Python code of docs/guide/interop.md on the emoji features.

    python examples/interop.py [--sail target/release/sail]

Needs Python 3.11 with numpy, safetensors, pyarrow, faiss-cpu, lancedb and qdrant-client. Code whose packages are missing is left
out, and named.
"""

import argparse
import importlib.util
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/guide/interop.md"
FEATURES = ROOT / "examples/data/emoji-features.safetensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sail", type=Path, default=ROOT / "target/release/sail")
    sail = parser.parse_args().sail.resolve()
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        def run(*words):
            subprocess.run([sail, *words], cwd=folder, check=True)

        run("store", "subset", f"{FEATURES}:image", "--modality", "image", "--range", "0..", "--out", "images")
        names = {}
        ran = missing = 0
        for kind, code in re.findall(r"^```(console|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            if kind == "console":
                for line in code.splitlines():
                    run(*line.split()[1:])
                continue
            packages = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
            absent = [package for package in packages if importlib.util.find_spec(package) is None]
            if absent:
                print(f"left out: {', '.join(absent)} is not installed")
                missing += 1
                continue
            # As in a session: later code uses the names of earlier code.
            exec(compile(f"import os; os.chdir({folder!r})\n{code}", str(PAGE), "exec"), names)
            ran += 1
        assert names["vectors"].shape == (1376, 1280), names["vectors"].shape
        assert names["keys"][:2] == ["0", "1"], names["keys"][:2]
        nearest = [name for name in ("faiss", "lancedb", "qdrant_client") if name in names]
        if "lancedb" in names:
            assert names["found"], "no results"
        print(f"{ran} blocks ran, {missing} were left out ({', '.join(nearest)})")


if __name__ == "__main__":
    main()
