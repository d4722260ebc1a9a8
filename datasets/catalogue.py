"""The catalogue of named datasets, including those of installed packages."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

from stampbench.datasets.definition import Archive, Definition, Files, Phantom
from stampbench.datasets.errors import DatasetError

GROUP = "stampbench.datasets"
"""Entry-point group in which other packages register datasets."""

_MSD = "Antonelli et al. 2022, The Medical Segmentation Decathlon, Nature Communications 13:4128"
_LITS = "Bilic et al. 2023, The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84:102680"
_NFBS = "Puccio et al. 2016, The Preprocessed Connectomes Project repository of skull-stripped images, GigaScience 5:45"
_HARP = "Frisoni and Jack 2015, HarP: the EADC-ADNI Harmonized Protocol, Alzheimer's & Dementia 11:107"
_IXI = "IXI, Information eXtraction from Images (EPSRC GR/S21533/02), brain-development.org"
_FIRST = "Patenaude et al. 2011, A Bayesian model of shape and appearance, NeuroImage 56:907"
_ACDC = (
    "Bernard et al. 2018, Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and "
    "Diagnosis, IEEE Transactions on Medical Imaging 37:2514"
)
_DSB = "Caicedo et al. 2019, Nucleus segmentation across imaging experiments, Nature Methods 16:1247"
_INTERGROWTH = "Papageorghiou et al. 2014, INTERGROWTH-21st, The Lancet 384:869"

# Addresses and checksums are those of monai.apps.DecathlonDataset.
_MSD_ARCHIVE = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
_MSD_MD5 = {
    "Task02_Heart": "06ee59366e1e5124267b774dbd654057",
    "Task03_Liver": "a90ec6c4aa7f6a3d087205e23d4e6397",
    "Task04_Hippocampus": "9d24dba78a72977dbd1d2e110310f31b",
    "Task05_Prostate": "35138f08b1efaef89d7424d2bcc928db",
    "Task09_Spleen": "410d4a301da4e5b2f6f86ec3ddba524e",
}

_IXI_ARCHIVE = Archive(
    url="https://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI/IXI-T1.tar",
    md5="34901a0593b41dd19c1a1f746eac2d58",  # as in torchio.datasets.IXI
    folder="IXI/IXI-T1",
)


def _decathlon(name: str, folder: str, summary: str, **others: Any) -> Definition:
    """Return the definition of a task of the Medical Segmentation Decathlon; `others` are further fields."""
    return Definition(
        name=name,
        summary=summary,
        folder=folder,
        archive=Archive(url=f"{_MSD_ARCHIVE}/{folder}.tar", md5=_MSD_MD5[folder], folder=folder),
        layout="dataset.json, imagesTr/ and labelsTr/, as in the archive",
        **{"licence": "CC-BY-SA 4.0", "citation": _MSD} | others,
    )


def _ixi(name: str, site: str, summary: str, label: str, option: str, **others: Any) -> Definition:
    """Return the definition of one site of IXI, whose label maps users create with FSL.

    Args:
        name: Name of the dataset.
        site: Site as it appears in the file names.
        summary: Images and structures, in a few words.
        label: Name of the label map that `fsl_anat` writes, without its ending.
        option: Options of `fsl_anat`, followed by a space.
        others: Further fields of the definition.
    """
    return Definition(
        name=name,
        summary=summary,
        licence="CC-BY-SA 3.0",
        folder="IXI",
        archive=_IXI_ARCHIVE,
        files=Files(
            label=rf"(?P<case>(?P<subject>IXI\d{{3}})-{site}-\d{{4}})-T1\.anat/{label}\.nii\.gz",
            images=("{case}-T1.anat/T1_biascorr.nii.gz",),
            case="{case}",
            channels=("T1",),
        ),
        obtain=(
            "create the label maps with FSL (fsl.fmrib.ox.ac.uk) for every image of the site: "
            f"cd IXI && for each in IXI-T1/*-{site}-*-T1.nii.gz; do "
            f'fsl_anat {option}-i "$each" -o "$(basename "$each" .nii.gz)"; done'
        ),
        layout=(
            f"IXI/IXI002-{site}-0000-T1.anat/T1_biascorr.nii.gz   the bias-corrected image written by fsl_anat\n"
            f"IXI/IXI002-{site}-0000-T1.anat/{label}.nii.gz   its label map; one such folder per image"
        ),
        spatial_dims=3,
        # The paper only states 128³; the whole head does not fit into that size unless it is resized.
        size=(128, 128, 128),
        fit="resize",
        **others,
    )


CATALOGUE: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition(
            name="phantom2d",
            summary="synthetic 2D images of three structures with bias field and Rician noise",
            licence="Apache-2.0",
            citation="stampbench",
            synthetic=True,
            phantom=Phantom(cases=80, size=64),
            spatial_dims=2,
        ),
        Definition(
            name="phantom3d",
            summary="synthetic volumes of three structures with bias field and Rician noise",
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
        # The paper tests on 10 of 38 subjects (Table 1); the Decathlon has published only 32 labelled ones.
        _decathlon(
            "prostate", "Task05_Prostate", "T2 and ADC MR slices; peripheral zone and transition zone",
            spatial_dims=2, size=(320, 320), test_subjects=10,
        ),
        # The paper says right atrium, but the Decathlon's label is the left atrium.
        _decathlon(
            "cardiac", "Task02_Heart", "bSSFP MR slices; left atrium",
            spatial_dims=2, size=(320, 320), test_subjects=5,
        ),
        _decathlon(
            "spleen", "Task09_Spleen", "CT slices; spleen",
            spatial_dims=2, size=(512, 512), test_subjects=10,
        ),
        # PocketNet §2.2: half the resolution, then clipping to −100 to 200 HU. The tumour is part of the liver.
        _decathlon(
            "liver", "Task03_Liver", "LiTS, CT slices at half resolution; liver, tumours included",
            citation=f"{_LITS}; {_MSD}",
            spatial_dims=2, size=(256, 256), fit="resize", clip_range=(-100.0, 200.0), classes={"liver": (1, 2)},
        ),
        # ACDC and DSB 2018 are not in the papers; the package's own leaderboards use them besides the hippocampus.
        Definition(
            name="acdc",
            summary="cardiac cine MR slices; right ventricle, myocardium and left ventricle",
            licence="CC BY-NC-SA 4.0",
            citation=_ACDC,
            folder="Dataset027_ACDC",
            obtain="register at humanheart-project.creatis.insa-lyon.fr, and convert the files to nnU-Net v2's layout",
            layout="dataset.json, imagesTr/patient001_frame01_0000.nii.gz, labelsTr/patient001_frame01.nii.gz",
            spatial_dims=2,
            size=(256, 256),
            fit="resize",  # The edges of the images have 154 to 512 pixels.
            subject_pattern=r"(patient\d+)",
            equivalence_margin=0.05,  # Runs of one strategy with 100 slices differ by .01 to .11 (standard deviation).
        ),
        Definition(
            name="dsb2018",
            summary="greyscale microscopy images of 256 × 256 pixels; nuclei",
            licence="CC0 1.0",
            citation=_DSB,
            folder="Dataset120_DSB2018",
            obtain="convert the greyscale 256 × 256 images of BBBC038 (bbbc.broadinstitute.org) to nnU-Net v2's layout",
            layout="dataset.json, imagesTr/NAME_0000.png, labelsTr/NAME.png with the value 1 in nuclei",
            spatial_dims=2,
            size=(256, 256),
            fit="resize",
        ),
        Definition(
            name="nfbs",
            summary="T1 MR volumes of the head; brain",
            licence="none stated on the repository's page",
            citation=_NFBS,
            folder="NFBS_Dataset",
            # No official checksum exists; this one belongs to a copy described on GitHub (1,751,464,473 bytes).
            archive=Archive(
                url="https://fcp-indi.s3.amazonaws.com/data/Projects/RocklandSample/NFBS_Dataset.tar.gz",
                md5="06c467ac9ab6cbdb8185e6643879721d",
                folder="NFBS_Dataset",
            ),
            files=Files(
                label=r"(?P<subject>A\d{8})/sub-(?P=subject)_ses-NFB3_T1w_brainmask\.nii\.gz",
                images=("{subject}/sub-{subject}_ses-NFB3_T1w.nii.gz",),
                case="{subject}",
                channels=("T1",),
            ),
            layout=(
                "NFBS_Dataset/A00028185/sub-A00028185_ses-NFB3_T1w.nii.gz            the image\n"
                "NFBS_Dataset/A00028185/sub-A00028185_ses-NFB3_T1w_brainmask.nii.gz  its label map, as in the archive"
            ),
            classes={"brain": (1,)},
            spatial_dims=3,
        ),
        # The paper's 270 images are the two hippocampi of 135 subjects, 35 of whom are test subjects.
        Definition(
            name="harp",
            summary="T1 MR boxes around the left and the right hippocampus; hippocampus",
            licence="ADNI data use agreement; redistribution is not allowed",
            citation=_HARP,
            folder="HarP",
            files=Files(
                label=r"labels/(?P<subject>.+)_(?P<side>[LR])(?P<ending>\.nii(\.gz)?)",
                images=("images/{subject}{ending}",),
                case="{subject}_{side}",
                channels=("T1",),
            ),
            obtain=(
                "register with ADNI (adni.loni.usc.edu) for the T1 images, and with the HarP project "
                "(hippocampal-protocol.net) for its 135 pairs of label maps"
            ),
            layout=(
                "HarP/images/SUBJECT.nii.gz    the T1 image in the space of its label maps\n"
                "HarP/labels/SUBJECT_L.nii.gz  mask of the left hippocampus: 1 inside, 0 outside\n"
                "HarP/labels/SUBJECT_R.nii.gz  mask of the right hippocampus; all .nii.gz, or all .nii"
            ),
            classes={"hippocampus": (1,)},
            spatial_dims=3,
            size=(64, 64, 64),
            crop=(64, 64, 64),
            test_subjects=35,
        ),
        _ixi(
            "ixi_hh", "HH", "3 T T1 MR volumes of the head; brain", "T1_biascorr_brain_mask", "--nosubcortseg ",
            citation=_IXI, classes={"brain": (1,)}, test_subjects=19,
        ),
        _ixi(
            "ixi_guys", "Guys", "1.5 T T1 MR volumes of the head; caudate, putamen and thalamus",
            "T1_subcort_seg", "",
            citation=f"{_IXI}; {_FIRST}",
            # Label values of FSL FIRST, left and right.
            classes={"caudate": (11, 50), "putamen": (12, 51), "thalamus": (10, 49)},
            background=(13, 16, 17, 18, 26, 52, 53, 54, 58),
            test_subjects=65,
        ),
        Definition(
            name="intergrowth",
            summary="ultrasound volumes of fetal heads; brain",
            licence="not public",
            citation=_INTERGROWTH,
            folder="INTERGROWTH21",
            files=Files(
                label=r"labels/(?P<subject>.+)(?P<ending>\.nii(\.gz)?)",
                images=("images/{subject}{ending}",),
                case="{subject}",
                channels=("ultrasound",),
            ),
            obtain="ask the INTERGROWTH-21st consortium (intergrowth21.com); the volumes are not public",
            layout=(
                "INTERGROWTH21/images/SUBJECT.nii.gz  the volume\n"
                "INTERGROWTH21/labels/SUBJECT.nii.gz  its brain mask: 1 inside, 0 outside; all .nii.gz, or all .nii"
            ),
            classes={"brain": (1,)},
            spatial_dims=3,
            size=(160, 160, 160),
        ),
    )
}  # fmt: skip
"""All named datasets; `discover` adds those of installed packages."""


def discover() -> Iterator[str]:
    """Add the datasets of installed packages to the catalogue; yield a message for each one that cannot be added."""
    for point in metadata.entry_points(group=GROUP):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
        try:
            found = point.load()
        except Exception as error:  # Importing another package's code can raise anything.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield f"dataset '{point.name}' of {origin}: {point.value} cannot be imported ({reason})"
            continue
        try:
            register(point.name, found, f"{origin} ({point.value})")
        except DatasetError as error:
            yield str(error)


def register(name: str, definition: Definition, origin: str) -> None:
    """Add a dataset of another package to the catalogue.

    Args:
        name: Name of the dataset.
        definition: Its definition.
        origin: Where it comes from, for error messages.

    Raises:
        DatasetError: when `definition` is not a `Definition`, has a different name or neither folder nor phantom, or
            the name is taken by a different definition.
    """
    problem = None
    if not isinstance(definition, Definition):
        problem = f"it is not a Definition but {type(definition).__name__}"
    elif definition.name != name:
        problem = f"its definition has the name '{definition.name}'"
    elif definition.folder is None and definition.phantom is None:
        problem = "its definition has neither folder nor phantom"
    elif CATALOGUE.get(name, definition) != definition:
        problem = "the name is taken"
    if problem:
        raise DatasetError(f"dataset '{name}' of {origin} is not added: {problem}")
    CATALOGUE[name] = definition
