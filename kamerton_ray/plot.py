"""The pictures of a search and its verdict, for notebooks: `kamerton_ray.plot.surface(results)`."""

from kamerton_ray.report.palette import DARK, LIGHT, Palette
from kamerton_ray.report.plot_progress import progress
from kamerton_ray.report.plot_rounds import rounds
from kamerton_ray.report.plot_speedups import speedups
from kamerton_ray.report.plot_surface import surface
from kamerton_ray.report.plot_trade_off import trade_off

__all__ = ["DARK", "LIGHT", "Palette", "progress", "rounds", "speedups", "surface", "trade_off"]
