"""`python -m kamerton_ray.cli`."""

from kamerton_ray.cli.commands import main

main()
