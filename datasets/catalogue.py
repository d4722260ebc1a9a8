"""The datasets that are known by name."""

from __future__ import annotations

from stampbench.datasets.definition import Definition, Phantom

_MSD = "Antonelli et al. 2022, The Medical Segmentation Decathlon, Nature Communications 13:4128"
_MSD_ARCHIVE = "https://msd-for-monai.s3-us-west-2.amazonaws.com"


def _decathlon(
    name: str,
    folder: str,
    summary: str,
    *,
    spatial_dims: int,
    size: tuple[int, ...],
    test_subjects: int | None = None,
) -> Definition:
    return Definition(
        name=name,
        summary=summary,
        licence="CC-BY-SA 4.0",
        citation=_MSD,
        folder=folder,
        download=f"curl -L {_MSD_ARCHIVE}/{folder}.tar | tar -x",
        spatial_dims=spatial_dims,  # type: ignore[arg-type]
        size=size,
        test_subjects=test_subjects,
    )


CATALOGUE: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition(
            name="phantom2d",
            summary="generated pictures of three structures with bias field and Rician noise",
            licence="Apache-2.0",
            citation="stampbench",
            synthetic=True,
            phantom=Phantom(cases=80, size=64),
            spatial_dims=2,
        ),
        Definition(
            name="phantom3d",
            summary="generated volumes of three structures with bias field and Rician noise",
            licence="Apache-2.0",
            citation="stampbench",
            synthetic=True,
            phantom=Phantom(cases=60, size=32),
            spatial_dims=3,
        ),
        _decathlon(
            "hippocampus", "Task04_Hippocampus", "MR crops; anterior and posterior hippocampus",
            spatial_dims=3, size=(48, 64, 48),
        ),
        # The paper tests on 10 of 38 subjects (Table 1); the Decathlon publishes 32 labelled ones.
        _decathlon(
            "prostate", "Task05_Prostate", "T2 and ADC MR slices; peripheral zone and transition zone",
            spatial_dims=2, size=(320, 320), test_subjects=10,
        ),
        # The paper says right atrium; the Decathlon's label is the left one.
        _decathlon(
            "cardiac", "Task02_Heart", "bSSFP MR slices; left atrium",
            spatial_dims=2, size=(320, 320), test_subjects=5,
        ),
        _decathlon(
            "spleen", "Task09_Spleen", "CT slices; spleen",
            spatial_dims=2, size=(512, 512), test_subjects=10,
        ),
    )
}  # fmt: skip
