"""A BentoML service that does nothing, as its tutorial would have it."""

import bentoml


@bentoml.service
class Empty:
    @bentoml.api
    async def score(self) -> str:
        return "ok"
