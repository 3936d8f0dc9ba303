"""What came out: tidy tables, the numbers of the summary, and JSON that holds what is needed to run it again."""

from dipsim.results.explanation import Explanation
from dipsim.results.headroom import Headroom
from dipsim.results.log import BlockUse, TokenLog
from dipsim.results.result import Result

__all__ = ["BlockUse", "Explanation", "Headroom", "Result", "TokenLog"]
