"""What is found by itself: the groups of the API, and the projections of groups and rooms. No list names them."""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

import gateway


@cache
def modules(name: str) -> tuple[ModuleType, ...]:
    """The modules of this name in all rooms and groups, by the order of their places."""
    places = (found.name for found in pkgutil.walk_packages(gateway.__path__, f"{gateway.__name__}."))
    return tuple(importlib.import_module(place) for place in places if place.rpartition(".")[2] == name)
