"""Where things are."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]


def read(path):
    return (ROOT / path).read_text()
