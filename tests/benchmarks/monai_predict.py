"""A folder of scans segmented with MONAI alone: SlidingWindowInferer and DynUNet, random weights.

python -m tests.benchmarks.monai_predict <plans.json of nnU-Net> <labels> <folder of scans> <folder to write>
The network has the topology of nnU-Net's plan; the inferer has MONAI's own defaults (overlap 0.25, one window
a pass, all voxels of a window counting alike), and no image is mirrored.
"""

import json
import sys
from pathlib import Path

import torch
from monai.inferers.inferer import SlidingWindowInferer
from monai.networks.nets.dynunet import DynUNet
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import NormalizeIntensity
from monai.transforms.io.array import LoadImage, SaveImage


def main(plans: Path, labels: int, scans: Path, output: Path) -> None:
    """Write `<output>/<name>.nii.gz` for each scan."""
    plan = json.loads(plans.read_text(encoding="utf-8"))["configurations"]["3d_fullres"]
    torch.manual_seed(0)
    network = dynunet(plan["architecture"]["arch_kwargs"], labels).eval()
    read = Compose([LoadImage(image_only=True, ensure_channel_first=True), NormalizeIntensity()])
    write = SaveImage(output, output_postfix="", output_dtype="uint8", separate_folder=False, print_log=False)
    inferer = SlidingWindowInferer(plan["patch_size"])
    with torch.inference_mode():
        for path in sorted(scans.glob("*.nii.gz")):
            image = read(path)
            logits = inferer(image[None], network)[0]
            write(logits.argmax(dim=0, keepdim=True), meta_data=image.meta)


def dynunet(planned: dict[str, list[list[int]]], labels: int) -> DynUNet:
    """The network of an nnU-Net plan."""
    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=labels,
        kernel_size=planned["kernel_sizes"],
        strides=planned["strides"],
        upsample_kernel_size=planned["strides"][1:],
        filters=planned["features_per_stage"],
        norm_name=("instance", {"affine": True}),
        deep_supervision=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
