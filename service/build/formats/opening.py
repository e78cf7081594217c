"""A file of the manifest, opened by the format that its name or its dataset says it has."""

from minio import Minio

from quicksilver.build.columns import Column
from quicksilver.build.formats.avro import AvroSource
from quicksilver.build.formats.csv import CsvSource, Dialect
from quicksilver.build.formats.detect import Format, Shape, detect
from quicksilver.build.formats.json_lines import JsonSource
from quicksilver.build.formats.orc import OrcSource
from quicksilver.build.formats.parquet import ParquetSource
from quicksilver.build.formats.source import Source
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject


def open_source(
    client: Minio, dataset: Dataset, file: ManifestFile, columns: tuple[Column, ...]
) -> Source:
    """The file, its schema known; `columns` are the dataset's.

    Raises:
        BronzeFileError: it is not readable as what it is said to be.
        ManifestChangedError, BronzeUnavailableError: as `BronzeObject.readinto`.
    """
    name = f"s3://{dataset.bucket}/{file.key}"
    if file.size == 0:
        raise BronzeFileError(f"{name} is empty; upload it again")
    shape = detect(file.key, dataset.format)
    raw = BronzeObject(client, dataset.bucket, file)
    replace = dataset.bad_text == "replace"
    match shape.format:
        case Format.PARQUET:
            _refuse_compressed(name, shape)
            return ParquetSource(name, raw)
        case Format.ORC:
            _refuse_compressed(name, shape)
            return OrcSource(name, raw)
        case Format.AVRO:
            return AvroSource(name, raw, shape.compression, replace=replace)
        case Format.JSON:
            kinds = {column.name: column.kind for column in columns}
            kinds |= {former: c.kind for c in columns for former in c.former}
            return JsonSource(name, raw, shape.compression, kinds, replace=replace)
        case Format.CSV:
            names = [column.name for column in columns]
            return CsvSource(name, raw, shape.compression, _dialect(dataset, shape), names)


def _refuse_compressed(name: str, shape: Shape) -> None:
    if shape.compression is not None:
        raise BronzeFileError(
            f"{name} is {shape.format} inside {shape.compression}, which can only be read from its"
            f" start, and {shape.format} is read from its end: let the writer compress inside the"
            " file"
        )


def _dialect(dataset: Dataset, shape: Shape) -> Dialect:
    declared = dataset.csv
    return Dialect(
        delimiter=declared.delimiter or ("\t" if shape.suffix == "tsv" else ","),
        quote=declared.quote,
        escape=declared.escape,
        header=declared.header,
        null=declared.null,
        encoding=declared.encoding,
    )
