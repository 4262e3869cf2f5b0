# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file with the texts of SCHEMA, FORMER and EXAMPLE as arrays of characters: a
# string literal may have 4095 of them only.
set(text "/* Made from table-schema.sql, table-schema-1.sql and table-example.sql. */\n#include \"table_db.h\"\n")
string(REPEAT "........" 12 line) # twelve of them
foreach(name SCHEMA FORMER EXAMPLE)
    file(READ ${${name}} hex HEX)
    string(REGEX REPLACE "(..)" "'\\\\x\\1', " characters "${hex}")
    string(REGEX REPLACE "(${line})" "\\1\n    " characters "${characters}")
    string(TOLOWER ${name} lower)
    string(APPEND text "const char table_db_${lower}[] = {\n    ${characters}'\\0'};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
