"""Short real steps on the caller's own device, set beside their estimates and posted as runs.

`steps.observed` runs one case in a process of its own (`service.measure.child`, which needs the
`measure` extra), `comparing.compared` asks the service what it had predicted, and
`comparing.submission` is the run to post. The serving process imports none of it.
"""

from service.measure.cases import Case, Setup, cases
from service.measure.comparing import Ask, AskError, Compared, compared, config_of, submission
from service.measure.steps import MeasureError, Observation, observed

__all__ = [
    "Ask",
    "AskError",
    "Case",
    "Compared",
    "MeasureError",
    "Observation",
    "Setup",
    "cases",
    "compared",
    "config_of",
    "observed",
    "submission",
]
