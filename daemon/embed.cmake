# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file with the texts of SCHEMA and EXAMPLE as arrays of bytes: a string literal may
# have 4095 characters only.
set(text "/* Made from table-schema.sql and table-example.sql. */\n#include \"table_db.h\"\n")
foreach(name SCHEMA EXAMPLE)
    file(READ ${${name}} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1, " bytes "${hex}")
    string(REGEX REPLACE "((0x.., ){16})" "\\1\n    " bytes "${bytes}")
    string(TOLOWER ${name} lower)
    string(APPEND text "const char table_db_${lower}[] = {\n    ${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
