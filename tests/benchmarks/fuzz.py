"""Read files with damaged headers for a while: python -m tests.benchmarks.fuzz --minutes 10.

Every format and dataset.json; the files follow from their numbers. Prints what is met by anything but a
result or one clear line, keeps those files, and ends with exit code 1 if there were any.
"""

import argparse
import tempfile
from pathlib import Path

from tests.support.fuzz import fuzz
from tests.support.sound import sound_files


def main() -> int:
    """Judge files until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--first", type=int, default=1_000_000, help="number of the first file")
    parser.add_argument("--only", default="", help="kinds whose names hold this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="damaged_"))
    sounds = [sound for sound in sound_files(folder / "sound") if options.only in sound.name]
    tally = fuzz(sounds, folder / "damaged", first=options.first, seconds=60 * options.minutes)
    for fault in tally.faults:
        print(f"--- {fault.sound}, {folder / 'damaged' / str(fault.seed)}\n{fault.told}")
    print(
        f"{tally.files} files of {len(sounds)} kinds from number {options.first}: {tally.read} read, "
        f"{len(tally.faults)} faults; the slowest took {tally.slowest:.1f} s"
    )
    return int(bool(tally.faults))


if __name__ == "__main__":
    raise SystemExit(main())
