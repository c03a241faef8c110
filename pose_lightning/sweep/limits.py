"""How far whoever runs trials goes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How far a runner goes.

    Attributes:
        count: Trials that it starts at most.
        retry: How often a failed trial is run again.
        timeout: Seconds that one attempt of a trial may take.
        grace: Seconds that a trial has for its checkpoint, once told to stop.
        lease: Seconds after which the trial of a runner on another machine, of which nothing is heard, is lost.
        poll: Seconds between two looks at the processes.
        watch: Seconds between two looks at what they have logged, and at the study.
    """

    count: int | None = None
    retry: int = 0
    timeout: float | None = None
    grace: float = 60.0
    lease: float = 120.0
    poll: float = 0.2
    watch: float = 5.0
