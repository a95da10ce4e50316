"""Without a bucket everything lies in the data directory; one without the extra is refused, and a server is a node."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import S3, Cluster, Settings
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.s3.open import fetching, open_bucket, open_checkpoint_catalog, open_places
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


def test_a_clusters_engines_are_told_what_to_fetch_and_a_servers_own_have_it_fetched(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
    from sdxl_gateway.s3.bucket import Bucket
    from sdxl_gateway.s3.fetching_backends import FetchingBackend, ManifestBackend

    section = S3(bucket="mine", endpoint="http://127.0.0.1:9")
    settings = Settings(data_directory=tmp_path, s3=section)
    shared = open_checkpoint_catalog(Bucket(section), settings, {})
    backend, process = LocalBackend(open_fake_engine, queue_size=1), settings.engine_process()
    for cluster, expected in ((Cluster(), FetchingBackend), (Cluster(kind="ray"), ManifestBackend)):
        assert type(fetching(backend, shared, process, cluster, unheard)) is expected
        assert fetching(backend, open_checkpoint_catalog(None, settings, {}), process, cluster, unheard) is backend
