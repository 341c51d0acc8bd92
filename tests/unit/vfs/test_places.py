"""What URLs and names of buckets' directories mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.config import BucketName
from aisfs.errors import Invalid
from aisfs.store.cluster_work import Place
from aisfs.vfs.paths import bucket_directory, bucket_of_directory
from aisfs.vfs.places import place_of_url

words = st.text("abcXYZ019-_", min_size=1, max_size=12)
buckets = st.builds(
    BucketName,
    words,
    st.sampled_from(["ais", "aws", "gcp", "azure", "oci"]),
    st.one_of(st.just(""), words),
    st.one_of(st.just(""), words),
)
components = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda text: text not in {".", ".."})


@given(buckets)
def test_the_directory_of_a_bucket_names_it(bucket: BucketName) -> None:
    assert bucket_of_directory(bucket_directory(bucket)) == bucket


@given(buckets, st.lists(components, max_size=4), st.booleans())
def test_the_url_of_a_place_names_it(bucket: BucketName, path: list[str], below: bool) -> None:
    place = Place(bucket, "/".join(path) + ("/" if path and below else ""))
    assert place_of_url(str(place)) == place


@pytest.mark.parametrize("name", ["", "nobody:b", "ais:b", ":b", "aws:", "a b", "ais@:b", ".."])
def test_names_of_no_bucket(name: str) -> None:
    with pytest.raises(Invalid):
        bucket_of_directory(name)


@pytest.mark.parametrize(
    "url",
    ["ais://", "ais:///o", "nobody://b/o", "ais://b/a//b", "ais://b/../c", "http://b/o", "://"],
)
def test_urls_of_no_place(url: str) -> None:
    with pytest.raises(Invalid):
        place_of_url(url)
