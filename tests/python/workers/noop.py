"""A worker that does next to nothing, for tests and benches of what is around it."""

import ekiben


@ekiben.task
def noop() -> None:
    """Does nothing."""


@ekiben.task(root_input=True)
def echo(data: bytes) -> bytes:
    """Gives back the body."""
    return data


if __name__ == "__main__":
    ekiben.serve()
