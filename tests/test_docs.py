"""Every `>>>` example in README.md and docs/ runs and prints what the page says.

The examples of one page share their names, as they do for its reader.
"""

import doctest
import re
from pathlib import Path
from unittest import mock

import pytest

from tinygrad_act.formula import REGISTRY
from tinygrad_act.op import ACTIVATIONS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*$", "", text, flags=re.MULTILINE)  # a fence would count as output
    monkeypatch.chdir(tmp_path)  # an example may write files
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    report = []
    with mock.patch.dict(REGISTRY), mock.patch.dict(ACTIVATIONS):  # an example may declare an op
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=report.append)
    assert not report, "".join(report)
