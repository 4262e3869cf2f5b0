# SPDX-License-Identifier: Apache-2.0
#
# Against the installed library, which pkg-config finds; see README.md where it doesn't.
require "mkmf"

found = pkg_config("shmclient")
unless found && have_header("shmclient.h")
    abort "shmclient: pkg-config finds no libshmclient: install it, or set PKG_CONFIG_PATH to " \
          "the folder of its shmclient.pc"
end
# A library beneath somebody's home is found again at run time without LD_LIBRARY_PATH.
libdir = pkg_config("shmclient", "variable=libdir").to_s
standard = ["/lib", "/usr/lib", "/usr/local/lib"].any? { |folder| libdir.start_with?(folder) }
$DLDFLAGS << " -Wl,-rpath,#{libdir}" unless libdir.empty? || standard
$CFLAGS << " -std=gnu17 -Wall -Wextra -Wno-unused-parameter -fvisibility=hidden"
$warnflags = $warnflags.to_s.sub("-Wdeclaration-after-statement", "")
create_makefile("shmclient/native")
