"""Names of scan files: suffixes, in upper or lower case, and pairs of header and voxel file."""

from pathlib import Path

NIFTI = (".nii.gz", ".nii", ".img.gz", ".img", ".hdr.gz", ".hdr")
"""Suffixes of NIfTI: one file, or a pair of header and voxel file."""
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Suffixes read by ITK: one file, or for .nhdr and .mhd a header that names its voxel file."""
SUFFIXES = (*NIFTI, *ITK)
_PAIRS = {".hdr.gz": ".img.gz", ".hdr": ".img"}


def suffix_of(path: Path, among: tuple[str, ...] = SUFFIXES) -> str:
    """Return the suffix in lower case; empty if it is not one of `among`."""
    return next((suffix for suffix in among if path.name.lower().endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """Return the name without the suffix of a scan file."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """Return header file and voxel file of a two-file NIfTI scan, given either; None for other formats."""
    suffix = suffix_of(path)
    for header, voxels in _PAIRS.items():
        if suffix in (header, voxels):
            other = _beside(path, voxels if suffix == header else header)
            return (path, other) if suffix == header else (other, path)
    return None


def _beside(path: Path, suffix: str) -> Path:
    """Return the file in the same folder with this suffix instead, in its actual upper or lower case."""
    wanted = f"{stem_of(path)}{suffix}"
    if path.with_name(wanted).exists() or not path.parent.is_dir():
        return path.with_name(wanted)
    alike = [other for other in path.parent.iterdir() if other.name.lower() == wanted.lower()]
    return alike[0] if alike else path.with_name(wanted)
