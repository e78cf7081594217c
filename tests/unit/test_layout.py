"""Where the columns of a file go, whatever a month calls and types them."""

import pyarrow as pa
import pytest

from quicksilver.build.columns import ArrowSchema, ArrowType, Column, Kind
from quicksilver.build.layout import declared_columns, declared_types, fallback_type, plan
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import BronzeFileError
from tests.support.declared import yellow_columns

OLD = pa.schema(
    [
        ("VendorID", pa.int64()),
        ("tpep_pickup_datetime", pa.timestamp("us")),
        ("tpep_dropoff_datetime", pa.timestamp("us")),
        ("passenger_count", pa.float64()),
        ("trip_distance", pa.float64()),
        ("PULocationID", pa.int64()),
        ("DOLocationID", pa.int64()),
        ("payment_type", pa.int64()),
        ("fare_amount", pa.float64()),
        ("tip_amount", pa.float64()),
        ("total_amount", pa.float64()),
        ("airport_fee", pa.null()),
    ]
)
COLUMNS = yellow_columns()
FILE = "s3://datasets/bronze/data.parquet"


def placed(schema: ArrowSchema, present: dict[str, str] | None = None) -> dict[str, str]:
    found = plan(COLUMNS, schema, present or {}, FILE, 10)
    return {landing.name: landing.sql_type for landing in found.landings}


def changed(**types: ArrowType | None) -> ArrowSchema:
    fields = [(f.name, types.get(f.name, f.type)) for f in OLD]
    known = {name for name, _ in fields}
    fields += [(name, kind) for name, kind in types.items() if name not in known]
    return pa.schema([field for field in fields if field[1] is not None])


def test_every_layout_of_the_years_lands_in_the_same_columns() -> None:
    new = changed(
        VendorID=pa.int32(),
        PULocationID=pa.float64(),
        passenger_count=pa.int64(),
        tpep_pickup_datetime=pa.timestamp("ns"),
        airport_fee=None,
        Airport_fee=pa.float32(),
        store_and_fwd_flag=pa.large_string(),
    )
    expected = placed(OLD) | {"airport_fee": "double precision", "store_and_fwd_flag": "text"}
    assert placed(new) == expected


def test_a_column_of_nulls_is_left_empty() -> None:
    assert "airport_fee" not in placed(OLD)


def test_both_spellings_in_one_file_are_both_kept() -> None:
    both = changed(airport_fee=pa.float64(), Airport_fee=pa.float64())
    assert {"airport_fee", "Airport_fee"} <= set(placed(both))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (changed(total_amount=None), "required column total_amount is missing"),
        (changed(total_amount=pa.string()), "total_amount is of type string, not a number"),
        (changed(VendorID=pa.null()), "required column VendorID is of type null, not an integer"),
        (
            changed(tpep_pickup_datetime=pa.timestamp("us", tz="UTC")),
            r"tpep_pickup_datetime is of type timestamp\[us, tz=UTC\], not a timestamp",
        ),
        (changed(airport_fee=pa.string()), "column airport_fee is of type string, not a number"),
    ],
)
def test_what_is_required_is_named_when_it_is_wrong(schema: ArrowSchema, sentence: str) -> None:
    with pytest.raises(BronzeFileError, match=sentence) as caught:
        plan(COLUMNS, schema, {}, FILE, 10)
    assert str(caught.value).startswith(FILE)


def test_an_empty_file_may_have_untyped_columns() -> None:
    assert plan(COLUMNS, changed(VendorID=pa.null()), {}, FILE, 0).unknown == ()


def test_an_unknown_column_is_kept_and_told_once() -> None:
    schema = changed(surge=pa.int32(), later=pa.null())
    found = plan(COLUMNS, schema, {}, FILE, 10)
    assert found.unknown == ("surge",)
    assert placed(schema)["surge"] == "bigint"
    assert "later" not in placed(schema)
    assert plan(COLUMNS, schema, {"surge": "bigint"}, FILE, 10).unknown == ()


def test_an_unknown_column_of_another_type_gets_a_column_of_its_own() -> None:
    schema = changed(surge=pa.string())
    assert placed(schema, {"surge": "bigint"})["surge__text"] == "text"
    assert "surge" not in placed(schema, {"surge": "bigint"})


def test_a_column_called_like_the_partition_does_not_become_it() -> None:
    assert placed(changed(dt=pa.string()))["dt__text"] == "text"
    assert placed(changed(dt=pa.date32()))["dt__date"] == "date"


@pytest.mark.parametrize(
    ("arrow", "sql_type"),
    [
        (pa.uint8(), "bigint"),
        (pa.uint64(), "numeric"),
        (pa.float16(), "double precision"),
        (pa.decimal128(9, 2), "numeric"),
        (pa.bool_(), "boolean"),
        (pa.date64(), "date"),
        (pa.timestamp("ms"), "timestamp without time zone"),
        (pa.timestamp("s", tz="Asia/Tokyo"), "timestamp with time zone"),
        (pa.large_binary(), "bytea"),
        (pa.dictionary(pa.int8(), pa.large_string()), "text"),
        (pa.list_(pa.int8()), "text"),
        (pa.struct([("a", pa.int8())]), "text"),
    ],
)
def test_every_type_has_a_place(arrow: ArrowType, sql_type: str) -> None:
    assert fallback_type(arrow)[0] == sql_type


def test_long_names_stay_apart() -> None:
    name = "é" * 40
    found = plan((), pa.schema([(name, pa.int8())]), {}, FILE, 1)
    assert len(found.landings[0].name.encode()) <= 63


def test_a_dataset_declares_its_columns_one_by_one() -> None:
    own = Dataset.model_validate(
        {
            "name": "shop.orders",
            "bucket": "datasets",
            "key": "orders/dt={dt}/{file}",
            "deployment": "silver-build/nyc-tlc",
            "bronze_table": "bronze.orders",
            "columns": {"id": {"kind": "integer", "required": True, "former": ["Id"]}},
        }
    )
    assert declared_columns(own) == (Column("id", Kind.INTEGER, required=True, former=("Id",)),)
    assert declared_types(declared_columns(own)) == {"id": "bigint"}


def test_two_long_names_that_share_their_start_stay_apart() -> None:
    names = ["x" * 70, "x" * 70 + "y"]
    for order in (names, names[::-1]):
        found = plan((), pa.schema([(name, pa.int8()) for name in order]), {}, FILE, 1)
        named = {landing.source: landing.name for landing in found.landings}
        assert len(set(named.values())) == 2
        assert all(len(name.encode()) <= 63 for name in named.values())
        assert named[names[0]].startswith("xxxx")
    again = {landing.source: landing.name for landing in found.landings}
    assert again == named


def test_a_table_of_0_2_0_goes_on_under_the_name_that_was_cut() -> None:
    name = "x" * 70
    found = plan((), pa.schema([(name, pa.int8())]), {"x" * 63: "bigint"}, FILE, 1)
    assert found.landings[0].name == "x" * 63
    assert found.unknown == ()


def test_names_that_postgres_or_bronze_has_already_give_way() -> None:
    schema = pa.schema(
        [("ctid", pa.int8()), ("dt", pa.string()), ("dt__text", pa.string()), ("", pa.int8())]
    )
    found = plan((), schema, {}, FILE, 1)
    named = {landing.source: landing.name for landing in found.landings}
    assert named["ctid"] == "ctid__bigint"
    assert named["dt__text"] == "dt__text"
    assert named["dt"].startswith("dt_")
    assert named["dt"] != "dt__text"
    assert named[""].startswith("_unnamed_")
    assert found.notes == (f"a column whose name is '' in the file is kept as {named['']}",)


def test_names_that_differ_in_case_are_different_columns() -> None:
    schema = pa.schema([("ID", pa.int8()), ("id", pa.int8())])
    assert [landing.name for landing in plan((), schema, {}, FILE, 1).landings] == ["ID", "id"]


def test_a_kind_that_the_time_zone_calls_for_is_said() -> None:
    column = Column("at", Kind.TIMESTAMPTZ, required=False)
    with pytest.raises(BronzeFileError, match="declare it `kind: timestamp`"):
        plan([column], pa.schema([("at", pa.timestamp("us"))]), {}, FILE, 1)


def test_a_decimal_has_its_digits_in_the_table() -> None:
    assert declared_types([Column("a", Kind.DECIMAL, required=True, digits=(12, 2))]) == {
        "a": "numeric(12,2)"
    }
