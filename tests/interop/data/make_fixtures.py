"""Writes the .pth files beside it with PyTorch, and what they hold as .npz.

Run once, with PyTorch 2.13.0 installed (no other test needs it):

    python tests/interop/data/make_fixtures.py
"""

from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
FORMATS = {"zip": True, "legacy": False}


def tensors() -> dict[str, torch.Tensor]:
    """One tensor of every kind that `read_pth` promises to read."""
    numbers = torch.arange(24, dtype=torch.float32) / 7 - 1
    return {
        "float64": numbers[:3].double() / 3,
        "float32": numbers.reshape(2, 3, 4).clone(),
        "float16": numbers[:6].reshape(2, 3).half(),
        "bfloat16": numbers[:6].reshape(3, 2).bfloat16(),
        "int64": torch.tensor([-(2**40), 0, 7]),
        "int32": torch.tensor([-(2**20), 3], dtype=torch.int32),
        "int16": torch.tensor([-300, 300], dtype=torch.int16),
        "int8": torch.tensor([-128, 127], dtype=torch.int8),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(90),
        "empty": torch.zeros(0, 3),
        "transposed": numbers.reshape(4, 6).t(),
        "offset": numbers.reshape(4, 6)[1:, 2:5],
        "expanded": torch.tensor([2.5]).expand(3, 2),
        "parameter": torch.nn.Parameter(numbers[:4].clone()),
    }


def small_network() -> torch.nn.Module:
    """A convolution and a batch norm under DataParallel: "module." names, counters."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    layers(torch.randn(5, 3, 6, 6))
    return torch.nn.DataParallel(layers)


def checkpoint(model: torch.nn.Module) -> dict:
    """What a training program saves: weights among numbers, text and optimizer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 3, 6, 6)).sum().backward()
    optimizer.step()
    return {
        "epoch": 90,
        "arch": "small",
        "best_top1": 76.5,
        "large": 2**80,
        "notes": ["a", None, True, (1, -2)],
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def save_expected(name: str, values: dict[str, torch.Tensor]) -> None:
    """Keeps the values; NumPy's format has no bfloat16, so that goes as float32."""
    np.savez_compressed(
        HERE / f"{name}.npz",
        **{
            key: (v.float() if v.dtype == torch.bfloat16 else v).detach().numpy()
            for key, v in values.items()
        },
    )


def main() -> None:
    """Writes all files."""
    kinds, saved = tensors(), checkpoint(small_network())
    save_expected("tensors", kinds)
    save_expected("checkpoint", saved["state_dict"])
    for name, is_zip in FORMATS.items():
        options = {"_use_new_zipfile_serialization": is_zip}
        torch.save(kinds, HERE / f"tensors_{name}.pth", **options)
        torch.save(saved, HERE / f"checkpoint_{name}.pth", **options)
    # The object, not its weights. (The legacy format would copy PyTorch's source.)
    torch.save(torch.nn.ReLU(), HERE / "whole_model_zip.pth")


if __name__ == "__main__":
    main()
