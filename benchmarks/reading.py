"""How fast a folder of pictures is read, and in how much memory, against a plain loader over Pillow.

    python benchmarks/reading.py --pictures 10000 --workers 0 2 --repeats 3

The other side is what one writes by hand: a ``Dataset`` of a dozen lines that opens a file with Pillow and gives a
float tensor and its label, and PyTorch's ``DataLoader`` with batches of 256 around it. Both read everything once, in a
process of their own; sides take turns. Ratios are of wall-clock and of processor time (children included) in the same
round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_pictures(root: Path, count: int, size: int, classes: int = 10) -> None:
    """PNG files of smooth noise, which takes as much to decode as photographs do."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        folder = root / f"class{i % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:06d}.png")


def read_plainly(root: str, workers: int) -> tuple[int, float]:
    """The dataset that one writes by hand; gives the number of pictures and the mean of their pixels."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset):
        def __init__(self) -> None:
            classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
            self.files = [(file, i) for i, folder in enumerate(classes) for file in sorted(folder.iterdir())]

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            path, label = self.files[i]
            with Image.open(path) as picture:
                pixels = np.array(picture.convert("RGB"))
            return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, label

    count, total = 0, 0.0
    for images, _ in DataLoader(Pictures(), batch_size=256, num_workers=workers):
        count += len(images)
        total += float(images.sum())
    return count, 255 * total / (count * images[0].numel())


def read_by_task(root: str, workers: int, memory: float) -> tuple[int, float]:
    """The same by a task, whose batches of the training part are gone through once."""
    import torch

    from archsearch.task import load_task

    task = load_task(f"{root}:workers={workers},memory={memory:g},valid=0.0005,test=0.0005")
    count, sums = 0, torch.zeros(3, dtype=torch.float64)
    for part in ("train", "valid", "test"):
        inputs, _ = task.part(part)
        for begin in range(0, len(inputs), 256):
            images = inputs[begin : begin + 256]
            count += len(images)
            sums += images.sum(dim=(0, 2, 3)).double()
    size = count * images[0, 0].numel()
    scaled = sums.numpy() / size * task.deviation[:, 0, 0] + task.mean[:, 0, 0]
    return count, float(scaled.mean())


def measure(side: str, root: str, workers: int, memory: float) -> dict[str, float]:
    """One reading in this process."""
    import torch

    import archsearch.task  # noqa: F401 (that it is imported is not timed)

    torch.set_num_threads(1)
    begun, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count, mean = read_plainly(root, workers) if side == "plain" else read_by_task(root, workers, memory)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu + children.ru_utime + children.ru_stime,
        "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "count": count,
        "mean": mean,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        side, root, workers, memory = args.one
        print(json.dumps(measure(side, root, int(workers), float(memory))))
        return
    with tempfile.TemporaryDirectory() as root:
        write_pictures(Path(root), args.pictures, args.size)
        for workers in args.workers:
            found: dict[str, list[dict[str, float]]] = {}
            for _ in range(args.repeats):
                for side, memory in (("plain", 0), ("task", 4096), ("streamed", 0)):
                    command = [sys.executable, __file__, "--one", side, root, str(workers), str(memory)]
                    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    found.setdefault(side, []).append(json.loads(answer.splitlines()[-1]))
            means = {round(each["mean"], 3) for rounds in found.values() for each in rounds}
            print(f"workers={workers}: {args.pictures} pictures of {args.size} x {args.size}; means of pixels {means}")
            for side, rounds in found.items():
                ratios = {
                    what: statistics.median(
                        each[what] / plain[what] for each, plain in zip(rounds, found["plain"], strict=True)
                    )
                    for what in ("seconds", "cpu")
                }
                print(
                    f"  {side:9} {statistics.median(each['seconds'] for each in rounds):6.2f} s wall, "
                    f"{statistics.median(each['cpu'] for each in rounds):6.2f} s processor, "
                    f"{ratios['seconds']:.2f} and {ratios['cpu']:.2f} of plain; "
                    f"{statistics.median(each['peak_mib'] for each in rounds):6.1f} MiB more at the peak"
                )


if __name__ == "__main__":
    main()
