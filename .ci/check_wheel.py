"""Ends with an error unless a wheel holds prm_flax and nothing else."""

import sys
import zipfile
from pathlib import PurePosixPath


def main(path: str) -> None:
    names = zipfile.ZipFile(path).namelist()
    tops = {PurePosixPath(name).parts[0] for name in names}
    extra = {
        top for top in tops if top != "prm_flax" and not top.endswith(".dist-info")
    }
    if extra or "prm_flax/__init__.py" not in names:
        sys.exit(f"{path} holds {sorted(tops)}, not prm_flax alone.")
    print(f"{len(names)} files, all of prm_flax")


if __name__ == "__main__":
    main(sys.argv[1])
