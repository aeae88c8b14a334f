"""Detection of errors that mean a lack of memory, on a GPU or on the host."""

import gc

import torch

ERRORS = (RuntimeError, MemoryError)
"""Types of such errors; `is_out_of_memory` distinguishes them from other errors of these types."""
_OF_HOST = ("can't allocate memory", "not enough memory")  # texts of torch's allocator on Linux and Windows


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_HOST)


def free_unused() -> None:
    """Free the memory of a failed attempt.

    Call it after the `except` block: until then the error's traceback keeps tensors alive.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
