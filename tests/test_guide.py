"""The guide and the notebook do what they say: what they print now is what stands in them, figures apart."""

import re

import nbformat
import pytest

from benchmarks.guide import DOCUMENT, NOTEBOOK, printed, run_notebook, with_output

pytestmark = pytest.mark.guide


def shape(text):
    """The lines with their figures, ids and marks taken out: these are another machine's, or another day's."""
    text = re.sub(r"run [0-9a-f]{32}", "run ID", text)
    text = re.sub(r"^ +[-+ ] (method|route|country|issuer|channel|amount) .*", r"  \\1", text, flags=re.MULTILINE)
    text = re.sub(r"[-+]?\d[\d,.:TZ+-]*", "#", text)
    return [re.sub(r" +", " ", line).strip() for line in text.strip().splitlines()]


def test_every_command_of_the_guide_prints_what_the_guide_shows(tmp_path):
    guide = DOCUMENT.read_text(encoding="utf-8")
    now = with_output(guide, printed(guide, tmp_path))
    assert shape(now) == shape(guide)


def test_every_cell_of_the_notebook_runs_and_shows_what_it_showed():
    then, now = nbformat.read(NOTEBOOK, as_version=4), run_notebook(NOTEBOOK)
    assert [kinds(cell) for cell in now.cells] == [kinds(cell) for cell in then.cells]


def kinds(cell):
    return [output["output_type"] for output in cell.get("outputs", ())]
