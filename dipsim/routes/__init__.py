"""Which experts did another engine choose: files of routes, checked row by row and made traces."""

from dipsim.routes.importing import import_bigmoe, import_routes

__all__ = ["import_bigmoe", "import_routes"]
