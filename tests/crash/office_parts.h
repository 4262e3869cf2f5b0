/* SPDX-License-Identifier: Apache-2.0
 *
 * What office.c and office_client.c share.
 */
#ifndef SHM_TESTS_OFFICE_PARTS_H
#define SHM_TESTS_OFFICE_PARTS_H

#include "office.h"

void client_claim_as(struct office_client *client, const char *worker);

#endif
