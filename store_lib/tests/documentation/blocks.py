"""Code blocks of the documentation, as a reader sees them."""

import dataclasses
import pathlib
import re
import textwrap

import store_lib

TOP = pathlib.Path(store_lib.__file__).parents[1]
SOURCE = TOP / "doc" / "source"

_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: *(?P<language>\S+)\n"
    r"(?P<options>(?:(?P=indent) +:\w+:.*\n)*)"
    r"(?P<body>(?:(?P=indent) +\S.*\n|[ ]*\n)*)",
    re.M,
)


@dataclasses.dataclass
class Block:
    """One code block: its language, its caption if any, and its text without the page's indentation."""

    language: str
    caption: str
    text: str


def blocks(page):
    """Return the code blocks of a page, named without its suffix, in order."""
    found = []
    for match in _BLOCK.finditer((SOURCE / f"{page}.rst").read_text()):
        caption = re.search(r":caption: *(.*)", match["options"])
        text = textwrap.dedent(match["body"]).strip("\n") + "\n"
        found.append(Block(match["language"], caption[1] if caption else "", text))
    return found
