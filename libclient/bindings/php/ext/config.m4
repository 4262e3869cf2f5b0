dnl SPDX-License-Identifier: Apache-2.0
dnl
dnl The extension `shmclient`, over the library that pkg-config knows as shmclient.
PHP_ARG_ENABLE([shmclient], [whether to enable shmclient],
  [AS_HELP_STRING([--enable-shmclient], [Enable shmclient, the client of shm-manager])])

if test "$PHP_SHMCLIENT" != "no"; then
  PKG_CHECK_MODULES([SHMCLIENT], [shmclient >= 0.1])
  PHP_EVAL_INCLINE([$SHMCLIENT_CFLAGS])
  PHP_EVAL_LIBLINE([$SHMCLIENT_LIBS], [SHMCLIENT_SHARED_LIBADD])
  PHP_SUBST([SHMCLIENT_SHARED_LIBADD])
  PHP_NEW_EXTENSION([shmclient],
    [shmclient.c attachment.c create.c describe.c exception.c queue.c raw.c section.c segment.c \
     slots.c snapshot.c wait.c],
    [$ext_shared],, [-fvisibility=hidden -Wall -Wextra -Wno-unused-parameter])
  PHP_ADD_MAKEFILE_FRAGMENT
fi
