"""Build the page that names a cell in a browser into _web/: `make web`. Static files; any web server, or a phone, can hold them."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bloodcell import export, presets
from bloodcell.config import home

HERE = Path(__file__).parent
RUNTIME = "onnxruntime-web@1.30.0"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def fetch_runtime(folder: Path) -> None:
    "Take the runtime's files from npm's package; nothing of it is run."
    if all((folder / name).is_file() for name in FILES):
        return
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", "--silent", RUNTIME], cwd=scratch, check=True, capture_output=True)
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for name in FILES:
                (folder / name).write_bytes(archive.extractfile(f"package/dist/{name}").read())


def build(folder: Path, model: str = "blood8") -> Path:
    "Write the page, the runtime and the network into a folder."
    folder.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "web").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    preset = presets.load(model)
    found = export.parity(preset, export.export(preset, "onnx", folder / "model.onnx"))
    if found.largest > 1e-4:
        raise SystemExit(f"the exported network differs by {found.largest:.1e}: the page was not built")
    fetch_runtime(folder)
    return folder


if __name__ == "__main__":
    made = build(Path(sys.argv[1]) if len(sys.argv) > 1 else home() / "_web")
    print(f"bloodcell: {made}/index.html; to open it: python -m http.server -d {made}")
