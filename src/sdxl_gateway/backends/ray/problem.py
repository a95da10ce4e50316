"""What stops a start where a cluster is concerned."""

from __future__ import annotations

from sdxl_gateway.core.errors import StartProblem


class ClusterProblem(StartProblem):
    """Why engines cannot run in a cluster; the text is for the operator."""
