/* SPDX-License-Identifier: Apache-2.0
 *
 * The module: classes and functions as shmclient.stub.php has them.
 */
#include "php_shmclient.h"

#include <ext/spl/spl_exceptions.h>
#include <ext/standard/info.h>

#include <stdlib.h>

#include "shmclient_arginfo.h"

static PHP_MINIT_FUNCTION(shmclient) {
    register_classes();
    segment_register();
    section_register();
    return SUCCESS;
}

static PHP_MSHUTDOWN_FUNCTION(shmclient) {
    attachment_end_all();
    return SUCCESS;
}

static PHP_MINFO_FUNCTION(shmclient) {
    php_info_print_table_start();
    php_info_print_table_row(2, "shared memory of shm-manager", "enabled");
    php_info_print_table_row(2, "libshmclient", shmc_version());
    php_info_print_table_end();
}

zend_module_entry shmclient_module_entry = {
    STANDARD_MODULE_HEADER,
    "shmclient",
    functions,
    PHP_MINIT(shmclient),
    PHP_MSHUTDOWN(shmclient),
    NULL,
    NULL,
    PHP_MINFO(shmclient),
    "0.1.0",
    STANDARD_MODULE_PROPERTIES,
};

#ifdef COMPILE_DL_SHMCLIENT
ZEND_GET_MODULE(shmclient)
#endif

ZEND_FUNCTION(Shm_version) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_STRING(shmc_version());
}

ZEND_FUNCTION(Shm_manager) {
    char *request, *runtime_dir = NULL, *reply = NULL, error[512] = "";
    size_t request_bytes, runtime_dir_bytes;
    zend_long key = 0, timeout = 5000;
    bool no_key = true;
    ZEND_PARSE_PARAMETERS_START(1, 4)
    Z_PARAM_PATH(request, request_bytes)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG_OR_NULL(key, no_key)
    Z_PARAM_PATH_OR_NULL(runtime_dir, runtime_dir_bytes)
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    struct shmc_options options = {.size = sizeof options,
                                   .runtime_dir = runtime_dir,
                                   .error = error,
                                   .error_bytes = sizeof error};
    if (!key_within(key, no_key, 2, &options.key) ||
        !int_within(timeout, -1, INT_MAX, 4, &options.timeout_ms))
        RETURN_THROWS();
    int r = shmc_manager(&options, request, &reply);
    if (r < 0 && reply != NULL && error[0] == '\0')
        throw_text(r, reply, 0);
    else if (r < 0)
        throw_text(r, error, 0);
    else
        RETVAL_STRING(reply);
    free(reply);
}
