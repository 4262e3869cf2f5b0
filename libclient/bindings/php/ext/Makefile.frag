# SPDX-License-Identifier: Apache-2.0
$(builddir)/shmclient.lo: $(builddir)/shmclient_arginfo.h

$(builddir)/shmclient_arginfo.h: $(srcdir)/shmclient.stub.php $(srcdir)/arginfo.php
	$(PHP_EXECUTABLE) -n $(srcdir)/arginfo.php $(srcdir)/shmclient.stub.php >$@
