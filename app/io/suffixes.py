"""Names of scan files: their suffixes, in capitals or not, and the file a second one belongs to."""

from pathlib import Path

NIFTI = (".nii.gz", ".nii", ".img.gz", ".img", ".hdr.gz", ".hdr")
"""One file, or a pair of voxels and header."""
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
"""One file, or for .nhdr and .mhd a header that names the file of its voxels."""
SUFFIXES = (*NIFTI, *ITK)
_PAIRS = {".hdr.gz": ".img.gz", ".hdr": ".img"}


def suffix_of(path: Path, among: tuple[str, ...] = SUFFIXES) -> str:
    """Return the suffix in small letters, empty if it is none of these."""
    return next((suffix for suffix in among if path.name.lower().endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """Return the name without the suffix of a scan file."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """Return header and voxels of a NIfTI file in two parts, whichever is given; None for one in one part."""
    suffix = suffix_of(path)
    for header, voxels in _PAIRS.items():
        if suffix in (header, voxels):
            other = _beside(path, voxels if suffix == header else header)
            return (path, other) if suffix == header else (other, path)
    return None


def _beside(path: Path, suffix: str) -> Path:
    """The file of this stem and suffix beside another, in the capitals that it has."""
    wanted = f"{stem_of(path)}{suffix}"
    if path.with_name(wanted).exists() or not path.parent.is_dir():
        return path.with_name(wanted)
    alike = [other for other in path.parent.iterdir() if other.name.lower() == wanted.lower()]
    return alike[0] if alike else path.with_name(wanted)
