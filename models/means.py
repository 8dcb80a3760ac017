"""What belongs to the means of an attempt, and so does not carry over when the means change."""

from __future__ import annotations

__all__ = ["CHOSEN", "MEANS", "OF_THE_CARD", "OF_THE_FLOW", "OF_THE_METHOD", "OWN_GROUPS_OF"]

MEANS = ("method", "route", "auth_flow", "auth_steps", "stored", "network_token")
"""What a candidate can name."""

OF_THE_CARD = ("card_brand", "card_funding", "card_months_to_expiry", "network_token", "issuer", "issuer_country")
"""What only the card tells."""

OF_THE_FLOW = ("auth_steps", "auth_exemption")
"""What goes with the authentication flow."""

OF_THE_METHOD = (*OF_THE_CARD, "stored", *OF_THE_FLOW)
"""What goes with the method, besides route and authentication flow, which are chosen anew."""

CHOSEN = ("method", "route", "auth_flow")
"""What is chosen of an attempt's means."""

OWN_GROUPS_OF = {
    "method": ("method", "issuer", "route", "authentication"),
    "route": ("route",),
    "auth_flow": ("authentication",),
}
"""The groups whose own columns (a merchant's) do not carry over when one of CHOSEN changes."""
