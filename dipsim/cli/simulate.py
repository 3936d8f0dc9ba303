"""`dipsim simulate`: one run, its summary as a table and as JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dipsim.cli import options
from dipsim.cli.described import takes_simulation

if TYPE_CHECKING:
    from dipsim.simulation import Simulation


@takes_simulation()
def simulate(
    describe: "Callable[[], Simulation]",
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Replay a trace on a device and print tokens per second, hit rate and where the time goes.

    Example: dipsim simulate tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --policy lfu --dram 0.5x
    """
    from dipsim.cli.drift import certificate_line
    from dipsim.cli.terminal import progress, say, table
    from dipsim.files import check_output, write_text
    from dipsim.results.headline import headline, time_rows

    if json is not None:
        check_output(json, force)
    simulation = describe()
    if (line := certificate_line(simulation.trace, simulation.config)) is not None:
        say(line)
    with progress("simulating tokens") as on_progress:
        result = simulation.run(on_progress)
    numbers = result.to_dict()
    table(["", ""], [list(row) for row in headline(numbers).items()], title=simulation.title, left=2)
    table(["", "time of a token", "seconds", "share"], time_rows(numbers), left=2)
    if json is not None:
        write_text(json, result.to_json())
