"""Where the text and data that travel with the program lie: prompts, ready-made pipelines, the demo's coder.

In a checkout they are the top-level folders `prompts/`, `pipelines/` and `data/`; in the wheel the same folders are
packed under `autointerp/assets/`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_folder(name: str) -> Path:
    """The folder `prompts`, `pipelines` or `data`, from the wheel or from the checkout.

    Raises:
        FileNotFoundError: If the installation is incomplete.
    """
    for folder in (_PACKAGE / "assets" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"autointerp is installed without its folder {name!r}; install it again")
