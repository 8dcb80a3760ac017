"""A BentoML service that does nothing with the body that our service is sent: it takes it as a dict, and gives one back."""

from typing import Any

import bentoml


@bentoml.service
class Taking:
    @bentoml.api
    async def score(self, body: dict[str, Any], /) -> dict[str, Any]:
        return {"attempt_id": body["attempt"]["attempt_id"]}
