"""Generate synthetic images with labelled structures, for comparing strategies without a download.

Three labelled structures (a large organ, a medium-sized nucleus, and a small nodule near the organ's rim) lie in a
body. Their shape and position vary between subjects. Unlabelled structures that look like the nucleus force a network
to use position as well as brightness. Partial volume, contrast variation, a bias field and Rician noise are added. The
same version, number of dimensions, size and index always give the same image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

VERSION = 1
"""Version of the generator; increase it when a change of the code changes the images."""
CLASSES = ("background", "organ", "nucleus", "nodule")
"""Class names by label value."""
_OVERSAMPLING = 2
"""Fine voxels per image voxel and axis; averaging them gives the partial volume effect."""


def generate(spatial_dims: int, size: int, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the image and the label map of one subject, both `(size,) * spatial_dims`.

    Args:
        spatial_dims: Number of spatial dimensions, 2 or 3.
        size: Edge length in voxels.
        index: Number of the subject, from 0.

    Returns:
        The image, and the label map of indices into `CLASSES`.
    """
    rng = np.random.default_rng([VERSION, spatial_dims, size, index])
    shape = (size * _OVERSAMPLING,) * spatial_dims
    grid = _subject_coordinates(rng, shape)

    body = _ellipsoid(grid, np.zeros(spatial_dims), np.full(spatial_dims, 0.82))
    organ_centre = _jitter(rng, (-0.28, 0.10, 0.05), spatial_dims, 0.06)
    organ_radii = _jitter(rng, (0.34, 0.26, 0.30), spatial_dims, 0.05)
    organ = _ellipsoid(grid, organ_centre, organ_radii)
    nucleus_radii = _jitter(rng, (0.20, 0.14, 0.16), spatial_dims, 0.03)
    nucleus = _ellipsoid(grid, _jitter(rng, (0.36, -0.18, 0.0), spatial_dims, 0.06), nucleus_radii)
    direction = rng.normal(size=spatial_dims)
    direction /= np.linalg.norm(direction)
    nodule_radius = rng.uniform(0.08, 0.12) * (1.5 if spatial_dims == 3 else 1)
    nodule = _ellipsoid(grid, organ_centre + 0.8 * direction * organ_radii, np.full(spatial_dims, nodule_radius))
    lookalikes = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 4)):
        centre = _jitter(rng, (0.1, 0.5, 0.0), spatial_dims, 0.25)
        lookalikes |= _ellipsoid(grid, centre, nucleus_radii * rng.uniform(0.4, 0.8))

    label = np.zeros(shape, np.uint8)
    image = np.full(shape, 0.02)
    tissues = (
        (body, 0.35, 0),
        (lookalikes & body, 0.56, 0),
        (organ, 0.50, 1),
        (nucleus, 0.56, 2),
        (nodule, 0.74, 3),
    )
    for mask, brightness, value in tissues:
        image[mask] = brightness + rng.normal(scale=0.04)
        label[mask] = value
    image += 0.03 * _smooth_field(rng, shape, 12) * body

    fractions = [_block_means(label == value) for value in range(len(CLASSES))]
    image = _block_means(image) ** rng.uniform(0.8, 1.25)
    image *= np.exp(0.25 * _smooth_field(rng, image.shape, 3))
    noise = rng.uniform(0.05, 0.09)
    image = np.hypot(image + noise * rng.normal(size=image.shape), noise * rng.normal(size=image.shape))
    return image.astype(np.float32), np.argmax(fractions, axis=0).astype(np.uint8)


def _subject_coordinates(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the position `(dims, *shape)` of each voxel in the anatomy that all subjects share.

    The subject's anatomy differs from it by a random shift, rotation, scale and smooth deformation.
    """
    dims = len(shape)
    axes = [np.linspace(-1, 1, edge) for edge in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    angle = rng.uniform(-0.35, 0.35)
    rotation = np.eye(dims)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = np.tensordot(rotation / rng.uniform(0.85, 1.1), grid, axes=1)
    grid += rng.uniform(-0.1, 0.1, size=(dims, *[1] * dims))
    deformation = np.stack([_smooth_field(rng, shape, 4) for _ in range(dims)])
    deformed: NDArray[np.float64] = grid + 0.05 * deformation
    return deformed


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], knots: int) -> NDArray[np.float64]:
    """Return a random field of about unit variance, the sum of the `knots` lowest cosines per axis."""
    spectrum = np.zeros(shape)
    spectrum[(slice(knots),) * len(shape)] = rng.normal(size=(knots,) * len(shape))
    field: NDArray[np.float64] = fft.idctn(spectrum, norm="ortho")
    scaled: NDArray[np.float64] = field * np.sqrt(field.size / knots ** len(shape))
    return scaled


def _ellipsoid(grid: NDArray[np.float64], centre: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask of an axis-aligned ellipsoid in the coordinates `(dims, *shape)` of a grid."""
    ones = [1] * (grid.ndim - 1)
    offsets = (grid - centre.reshape(-1, *ones)) / radii.reshape(-1, *ones)
    inside: NDArray[np.bool_] = (offsets**2).sum(axis=0) < 1
    return inside


def _jitter(
    rng: np.random.Generator, typical: tuple[float, float, float], spatial_dims: int, spread: float
) -> NDArray[np.float64]:
    """Return the typical values of the first axes, each changed by a uniform random number within ±spread."""
    return np.array(typical[:spatial_dims]) + rng.uniform(-spread, spread, size=spatial_dims)


def _block_means(fine: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean of each block of fine voxels that makes up one image voxel."""
    blocks = [part for edge in fine.shape for part in (edge // _OVERSAMPLING, _OVERSAMPLING)]
    mean: NDArray[np.float64] = fine.reshape(blocks).astype(np.float64).mean(axis=tuple(range(1, len(blocks), 2)))
    return mean
