"""The error for clusters that cannot be used."""

from __future__ import annotations

from sdxl_gateway.core.errors import StartProblem


class ClusterProblem(StartProblem):
    """Why engines cannot run in a cluster; the text is for the operator."""
