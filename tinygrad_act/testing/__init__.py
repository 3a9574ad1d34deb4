"""Checks that users can run on their own ops, and what Hypothesis needs to draw their inputs.

``tinygrad_act.testing.strategies`` is imported by itself, since it needs the package
`hypothesis`.
"""

from .differences import gradcheck, gradgradcheck
from .records import check_op
