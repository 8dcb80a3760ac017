"""The stories that the simulator can tell: what differs from one simulated market to the next, as data.

A new story is a `Story` in `STORIES` that names what it changes; everything else is the base story's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from features.errors import BadInput, Fault

__all__ = ["BASE", "STORIES", "Health", "Story", "story_named"]


@dataclass(frozen=True)
class Health:
    """The hidden health of one kind of entity: well or ill, a Markov chain in continuous time.

    `well_hours` and `ill_hours` are the mean stays. `illness` is what being ill adds to the logit of failing there.
    """

    well_hours: float
    ill_hours: float
    illness: float

    @property
    def share_ill(self) -> float:
        """Share of time ill, in the long run.

        >>> Health(well_hours=9.0, ill_hours=1.0, illness=3.0).share_ill
        0.1
        """
        return self.ill_hours / (self.well_hours + self.ill_hours)

    @property
    def rate(self) -> float:
        """How fast knowledge of the health fades, per second: the sum of both switching rates."""
        return (1.0 / self.well_hours + 1.0 / self.ill_hours) / 3600.0


@dataclass(frozen=True)
class Story:
    """One market's parameters.

    `gateway_countries`: where first-time payers are sent through a bank's gateway. `agreement_share`: the share of
    customers there whose agreement (given at random) skips it by quick_pay.
    """

    name: str
    meaning: str
    route_health: Health = Health(well_hours=150.0, ill_hours=5.0, illness=0.6)
    issuer_health: Health = Health(well_hours=300.0, ill_hours=6.0, illness=0.7)
    gateway_countries: tuple[str, ...] = ()
    agreement_share: float = 0.15


BASE = Story("base", "four countries with their own methods; routes and issuers have bad hours, none goes down")

STORIES: Mapping[str, Story] = MappingProxyType(
    {
        story.name: story
        for story in (
            BASE,
            replace(
                BASE,
                name="gateway",
                meaning="first-time payers go through a bank gateway of five to seven passwords; a few may skip it",
                gateway_countries=("KR", "TW"),
            ),
            replace(
                BASE,
                name="outage",
                meaning="routes and issuers go down for hours, once or twice a month",
                route_health=Health(well_hours=400.0, ill_hours=8.0, illness=4.5),
                issuer_health=Health(well_hours=900.0, ill_hours=12.0, illness=4.0),
            ),
        )
    }
)
"""Every story by name."""


def story_named(name: str) -> Story:
    """The story of that name. Raises BadInput that lists the stories there are."""
    if name not in STORIES:
        raise BadInput("simulate", [Fault("story", ", ".join(STORIES), seen=name)])
    return STORIES[name]
