"""Taking a directory tree in as buckets and objects (`--import`)."""

import os
from pathlib import Path

from aisfs.server.buckets.props import default_props
from aisfs.server.naming import BucketName, encode_name, is_valid_object_name
from aisfs.server.state import Store
from aisfs.server.storage.catalog import Bucket, Record
from aisfs.server.storage.checksums import new_hasher

IMPORT_BATCH = 500


class ImportTreeError(Exception):
    """The tree cannot be taken in; the text is one line for the user."""


def import_tree(store: Store, root: Path) -> int:
    """Copy a directory tree in: each directory at its top becomes a bucket of that name.

    Existing objects are left alone, so that starting again with the same import costs little and
    undoes nothing. Links and special files are passed over. Returns the number of objects.

    Raises:
        ImportTreeError: the directory cannot be read, or a directory's name is no bucket name.
    """
    count = 0
    try:
        for entry in sorted(os.scandir(root), key=lambda item: item.name):
            if entry.is_dir(follow_symlinks=False):
                name = BucketName(entry.name)
                bucket = store.catalog.buckets.get(name)
                if bucket is None:
                    bucket = store.catalog.create_bucket(name, default_props(store.era))
                count += _import_bucket(store, bucket, Path(entry.path))
    except OSError as error:
        raise ImportTreeError(f"cannot import {root}: {error}") from error
    return count


def _import_bucket(store: Store, bucket: Bucket, root: Path) -> int:
    batch: list[Record] = []
    count = 0
    for directory, _, names in os.walk(root):
        for file in names:
            path = Path(directory, file)
            name = str(path.relative_to(root))
            if path.is_symlink() or not path.is_file() or not is_valid_object_name(name):
                continue
            if store.catalog.get(bucket, encode_name(name)) is None:
                batch.append(_import_file(store, bucket, path, name))
                count += 1
            if len(batch) >= IMPORT_BATCH:
                store.catalog.put_many(bucket, batch)
                batch = []
    store.catalog.put_many(bucket, batch)
    return count


def _import_file(store: Store, bucket: Bucket, path: Path, name: str) -> Record:
    hasher = new_hasher(bucket.checksum_type)
    writer = store.blobs.create([hasher])
    with path.open("rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            writer.write([piece])
    writer.close()
    now = path.stat().st_mtime_ns
    kind, value = bucket.checksum_type, hasher.hexdigest()
    return Record(encode_name(name), writer.size, "1", kind, value, now, now, writer.name)
