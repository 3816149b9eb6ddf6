"""A walk through JSON values, for the tests that damage saved states."""


def places(tree, path=()):
    """The path of every value in a JSON tree."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in children:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))
