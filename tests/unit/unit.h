/* SPDX-License-Identifier: Apache-2.0
 *
 * What every unit test starts with.  A file defines its START_TEST()s and ends with
 * UNIT_MAIN("noun", test_a, test_b, ...).
 */
#ifndef SHM_TESTS_UNIT_H
#define SHM_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define UNIT_MAIN(noun, ...)                                                                       \
    int main(void) {                                                                               \
        const TTest *tests[] = {__VA_ARGS__};                                                      \
        Suite *suite = suite_create(noun);                                                         \
        TCase *tcase = tcase_create(noun);                                                         \
        tcase_set_timeout(tcase, 240);                                                             \
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)                                  \
            tcase_add_test(tcase, tests[i]);                                                       \
        suite_add_tcase(suite, tcase);                                                             \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_ENV);                                                           \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

#endif
