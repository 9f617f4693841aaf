"""Writes the numbered SQL files as one C table, rb_schema[] of store/migrate.h: embed.py 001_x.sql 002_y.sql … OUTPUT.

The text goes out as bytes: a string literal would need escaping and has a length that a compiler must not accept."""
import os
import re
import sys


def number_of(path):
    match = re.fullmatch(r"(\d{3})_[a-z0-9_]+\.sql", os.path.basename(path))
    if not match:
        sys.exit(f"{path}: a migration is called NNN_words.sql")
    return int(match.group(1))


def array(number, sql):
    rows = [", ".join(map(str, sql[i:i + 24])) for i in range(0, len(sql), 24)]
    return "static const unsigned char sql_%d[] = {\n    %s, 0};\n" % (number, ",\n    ".join(rows))


def main(sources, output):
    parts = ['#include "migrate.h"\n']
    rows = []
    for expected, path in enumerate(sources, start=1):
        number = number_of(path)
        if number != expected:
            sys.exit(f"{path}: migration {expected} is missing, or out of order")
        with open(path, "rb") as file:
            sql = file.read()
        if not sql or b"\0" in sql:
            sys.exit(f"{path}: empty, or holds a NUL")
        parts.append(array(number, sql))
        rows.append("    {%d, (const char *)sql_%d},\n" % (number, number))
    parts.append("const struct rb_migration rb_schema[] = {\n%s};\n" % "".join(rows))
    parts.append("const size_t rb_schema_count = sizeof rb_schema / sizeof rb_schema[0];\n")
    with open(output, "w", encoding="ascii") as file:
        file.write("\n".join(parts))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(sys.argv[1:-1], sys.argv[-1])
