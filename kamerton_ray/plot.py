"""The pictures of a search and its verdict, for notebooks: `kamerton_ray.plot.surface(results)`."""

from kamerton_ray.report.plot import DARK, LIGHT, Palette, progress, rounds, speedups, surface

__all__ = ["DARK", "LIGHT", "Palette", "progress", "rounds", "speedups", "surface"]
