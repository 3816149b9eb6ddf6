"""Where searchers that earlier versions have pickled look for their class."""

from kamerton_ray.tune.searcher import NelderMeadSearcher

__all__ = ["NelderMeadSearcher"]
