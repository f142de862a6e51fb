"""Claims about thumbnails: the picture that was given, stretched from black to white."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.image import imread

from safedeploy.report.thumbnails import png


def read(image: bytes) -> np.ndarray:
    return np.round(imread(io.BytesIO(image), format="png")[..., :3] * 255).astype(int)


def test_the_darkest_is_black_and_the_lightest_white() -> None:
    picture = read(png(np.array([[-1.0, 0.0], [1.0, 3.0]])))

    assert picture[..., 0].tolist() == [[0, 64], [128, 255]]
    assert (picture == picture[..., :1]).all()


def test_channels_come_first_and_keep_their_colours() -> None:
    image = np.zeros((3, 1, 3))
    for channel in range(3):
        image[channel, 0, channel] = 1

    assert (read(png(image))[0] == 255 * np.eye(3)).all()


@given(arrays(np.float32, (1, 4, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_finite_image_is_a_png_of_its_size(image: np.ndarray) -> None:
    assert read(png(image)).shape == (4, 5, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4), (1, 3, 4, 4)])
def test_what_is_no_image_is_an_error(shape: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="an image has shape"):
        png(np.zeros(shape))
