"""What does a GGUF file say of the model in it: shapes, bits and weights, read without torch."""

from dipsim.model.gguf_files.file import GgufFile, is_gguf, open_gguf, parts_of
from dipsim.model.gguf_files.sizes import sizes_and_bits
from dipsim.model.gguf_files.weights import running_config, stored_names, weight

__all__ = [
    "GgufFile",
    "is_gguf",
    "open_gguf",
    "parts_of",
    "running_config",
    "sizes_and_bits",
    "stored_names",
    "weight",
]
