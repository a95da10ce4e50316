"""Without a bucket everything lies in the data directory; one without the extra is refused, and a server is a node."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.config import S3, Cluster, Settings
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.s3.open import open_bucket, open_checkpoint_catalog, open_places
from sdxl_gateway.storage.blobs import BlobFolder
from tests.kit.images import signer


def test_without_a_bucket_things_lie_in_the_data_directory(tmp_path: Path) -> None:
    places, own = open_places(open_bucket(S3()), tmp_path, S3()), signer()
    assert type(places.blobs("files")) is BlobFolder
    assert places.blobs("files").spool == tmp_path / "blobs" / "files"
    assert places.addresses(own) is own


def test_a_bucket_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "sdxl_gateway.s3.bucket", raising=False)
    with pytest.raises(StartProblem, match=r"pip install 'sdxl-gateway\[s3\]'"):
        open_bucket(S3(bucket="mine"))


def test_checkpoints_of_a_bucket_are_no_clusters(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
    from sdxl_gateway.s3.bucket import Bucket

    section = S3(bucket="mine", endpoint="http://127.0.0.1:9")
    alone = Settings(data_directory=tmp_path, s3=section)
    clustered = alone.model_copy(update={"cluster": Cluster(kind="ray")})
    assert type(open_checkpoint_catalog(Bucket(section), clustered, {})) is CheckpointCatalog
    assert type(open_checkpoint_catalog(Bucket(section), alone, {})) is not CheckpointCatalog
