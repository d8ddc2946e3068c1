"""What a sweep costs, counted in operations before each of its points is worked out."""

from __future__ import annotations

from service.api.problems import ProblemError, at
from service.api.request_workloads import FinetuningWorkload
from service.api.requests import EstimateRequest
from service.api.resolve.layouts import Budget
from service.core.architecture.network import Network
from service.core.layout_choice import work_of_folding

MOST_WORK = 1_800_000
"""Of all points, in layouts evaluated (see `layout_choice.work_of_search`): about 0.2 s."""
POINT, TUNED, FLEET = 700, 2_500, 18_000
"""What a point counts as, beside the search for its layout and its network, what one with adapters
does, and what the search for a fleet that carries a load does, spread in one way."""
CHARACTERS = 10
"""Of the base, which each point is read from, that count as one."""
FOLDS = 8
"""What a network is read and folded for beside: parameters, work, memory."""


class Work:
    """What the points of one sweep have cost."""

    def __init__(self, base: EstimateRequest) -> None:
        tuned = isinstance(base.workload, FinetuningWorkload)
        self._point = (TUNED if tuned else POINT) + len(repr(base)) // CHARACTERS
        self.budget = Budget(MOST_WORK)
        self._folded = set[Network]()

    def point(self, network: Network, fleets: int = 0) -> None:
        """Counts a point; its network where it is a new one. Raises OverBudget.

        `fleets`: how many ways to spread one are sought for it.
        """
        new = network not in self._folded
        folding = work_of_folding(network, FOLDS) if new else 0
        self.budget.spend(self._point + FLEET * fleets + folding)
        self._folded.add(network)


def too_much(done: int, points: int) -> ProblemError:
    """The problem of a sweep of which only so many points can be worked out."""
    detail = (
        f"{done} of the sweep's {points} models, layouts and other choices take what one request "
        "may; send it in parts (tokens, prices and grids do not count, and a layout in base costs "
        "less than the search for one)"
    )
    return at("too-much-work", "/axes", detail)
