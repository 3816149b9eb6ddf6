"""Attempts in processes of their own, and every way they fail; it imports `machine`.

A *nest* is a process that forks *attempts* on request. There are three kinds:

    the asking process holds       in the nest runs          its attempts
    `model_nest.ModelNest`         `in_model_nest.main`      build a step and run it
    `command_nest.CommandNest`     `in_command_nest.main`    become a command
    what `script_nest` forks       the script itself         run the body of Kamerton's loop

Each nest runs `nest.Nest`. The handle on it is a `handle.NestHandle`, that on one of its attempts
an `attempt.Attempt`, and `attempt.each_found` waits for several. `messages` says what they tell
each other, and `outcome` how an attempt ends. Begin with `model_nest.py`.
"""
