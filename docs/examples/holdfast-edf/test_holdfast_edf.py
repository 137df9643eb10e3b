"""EDF files keep the contract of a format."""

import numpy as np
import pytest

from holdfast.testing.formats import FormatTests, Sample
from holdfast_edf import EDF


def edf(*images: np.ndarray) -> bytes:
    """Write images as the ESRF's programs do."""
    parts = []
    for image in images:
        rows, columns = image.shape
        header = (
            "{\nHeaderID = EH:000001:000000:000000 ;\nByteOrder = LowByteFirst ;\n"
            "DataType = UnsignedShort ;\n"
            f"Dim_1 = {columns} ;\nDim_2 = {rows} ;\nSize = {image.nbytes} ;\nEnergy = 12.4 ;\n"
        )
        parts += [header.ljust(510).encode(), b"}\n", image.astype("<u2").tobytes()]
    return b"".join(parts)


ONE, OTHER = np.arange(12, dtype="<u2").reshape(3, 4), np.arange(70, dtype="<u2").reshape(7, 10)


class TestOneImage(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.edf"
        path.write_bytes(edf(ONE))
        return Sample(EDF, path, arrays=[({"image": 0}, ONE)])


class TestTwoImages(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.edf"
        path.write_bytes(edf(ONE, OTHER))
        return Sample(EDF, path, arrays=[({"image": 0}, ONE), ({"image": 1}, OTHER)])
