"""Several objects of one bucket, chosen by names, by a range or by a template."""

from aisfs_sdk.multiobj.object_collection import ObjectCollection
from aisfs_sdk.multiobj.object_group import ObjectGroup
from aisfs_sdk.multiobj.object_names import ObjectNames
from aisfs_sdk.multiobj.object_range import ObjectRange
from aisfs_sdk.multiobj.object_template import ObjectTemplate

__all__ = ["ObjectCollection", "ObjectGroup", "ObjectNames", "ObjectRange", "ObjectTemplate"]
