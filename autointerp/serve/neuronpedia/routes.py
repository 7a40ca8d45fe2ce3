"""All of Neuronpedia's paths that are answered here, a family a file."""

from fastapi import APIRouter

from autointerp.serve.neuronpedia import explanations, features, lists, steer, texts, uploads
from autointerp.serve.serving import Serving


def router(serving: Serving) -> APIRouter:
    """The routes, over what is served."""
    routes = APIRouter(prefix="/api", tags=["Neuronpedia"])
    for family in (features, explanations, texts, lists, steer, uploads):
        family.add_routes(routes, serving)
    return routes
