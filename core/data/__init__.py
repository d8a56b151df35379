"""Official code tables that ship with the product, one JSON file a table and one record a line.

| table | fields | source |
| --- | --- | --- |
| `subjects` | code, name, parent | 医疗机构诊疗科目名录 卫医发〔1994〕27号, with 27 and 28 added later |
| `divisions` | code, name, parent | GB/T 2260 as of 2023: provinces, prefectures, counties; no development zones |
| `titles` | code, name, profession, level | GB/T 8561-2001, the titles of health workers |
| `id_types` | code, name | WS 364.3 CV02.01.101 |
| `genders` | code, name | GB/T 2261.1 |
| `emoji` | code, name, char | ours: what a chat message of kind `emoji` may name |

`parent` is empty at the top of a tree. Under a municipality the prefecture level is the standard's own 市辖区 and 县.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

TableName = Literal["subjects", "divisions", "titles", "id_types", "genders", "emoji"]
Record = Mapping[str, str]


@cache
def table(name: TableName) -> tuple[Record, ...]:
    """All records of a table in the order of its file, read once; neither the tuple nor a record can be changed."""
    text = files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    return tuple(MappingProxyType(record) for record in json.loads(text))
