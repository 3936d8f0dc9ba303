"""What does a sweep look like to somebody who got one file: a page of HTML that explores its runs, offline."""

from dipsim.report.page import Origins, page

__all__ = ["Origins", "page"]
