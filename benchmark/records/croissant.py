"""Croissant description of published tables, with which data sets are found, loaded and checked (mlcommons.org)."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.environment.bounded_json import parse_json
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.strict_csv import TableSchema

FILE = "croissant.json"
_MOST_BYTES = 1 << 22
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "recordSet": "cr:recordSet", "source": "cr:source",
}  # fmt: skip
"""Prefixes of the standard, version 1.0."""
_TYPES = {"text": "sc:Text", "integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean"}
_TABLES = {
    "runs": "A row per run: what it is, its results, and the code and machine that computed it.",
    "cases": "A row per run, test case and class: scores and counts of voxels.",
    "trajectories": "A row per run and checkpoint: epochs, size and validation scores.",
    "timings": "A row per timing of a network: device, backend, percentiles.",
}
_OWN = ("name", "description", "url", "license", "creator", "citeAs", "datePublished", "version", "keywords")
"""Keys whose values are kept if somebody has edited them."""


def describe_tables(folder: Path, schemas: Mapping[str, TableSchema]) -> str:
    """Return the description of the tables in a folder as JSON; texts that were edited in an older one are kept.

    Args:
        folder: folder of the published tables.
        schemas: schema of each table by its name.

    Raises:
        UserError: when the older description is damaged.
    """
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "stampbench-results",
        "description": "Recorded runs of stampbench: compact networks for medical images, trained under one protocol.",
        "url": metadata.metadata("stampbench").get_all("Project-URL", [", "])[0].partition(", ")[2],
        **_edited(folder / FILE),
        "distribution": [_file(folder / f"{name}.csv") for name in _TABLES],
        "recordSet": [_records(folder / f"{name}.csv", schemas[name]) for name in _TABLES],
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _edited(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        older = parse_json(read_bounded(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it, and it is written again") from error
    return {key: older[key] for key in _OWN if key in older} if isinstance(older, dict) else {}


def _file(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _records(path: Path, schema: TableSchema) -> dict[str, Any]:
    with path.open(newline="") as file:
        columns = next(csv.reader(file), [])
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{path.stem}/{column}",
            "name": column,
            "dataType": _TYPES[schema.columns[column].kind] if column in schema.columns else "sc:Text",
            "source": {"fileObject": {"@id": path.name}, "extract": {"column": column}},
        }
        for column in columns
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": path.stem,
        "name": path.stem,
        "description": _TABLES[path.stem],
        "field": fields,
    }
