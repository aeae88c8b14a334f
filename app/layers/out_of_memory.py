"""Whether an error says that memory ran out, on a GPU or on the host."""

import gc

import torch

ERRORS = (RuntimeError, MemoryError)
"""The types such errors have; `is_out_of_memory` tells them from others."""
_OF_HOST = ("can't allocate memory", "not enough memory")  # torch's allocator on Linux, and on Windows


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether it does."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_HOST)


def free_unused() -> None:
    """Give back what a failed attempt held; after its error is handled, whose traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
