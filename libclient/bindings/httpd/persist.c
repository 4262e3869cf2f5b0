/* SPDX-License-Identifier: Apache-2.0
 *
 * A slotmem's file, as httpd's own module writes and reads it:
 *
 *     how many slots are free  an unsigned, padded to 8 bytes
 *     the slots                size * num bytes
 *     which are in use         num bytes, 0 or not
 *     MD5 of all of that       16 bytes
 *     size, num, type          size_t, unsigned, unsigned; httpd before 2.4.27 leaves it out
 *
 * It counts whole or not at all, also where httpd takes it: one that ends behind the slots has no
 * digest, and could be any other's.
 */
#include "slotmem.h"

#include <apr_file_io.h>
#include <apr_md5.h>
#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES APR_ALIGN_DEFAULT(sizeof(unsigned))

struct geometry {
    apr_size_t size;
    unsigned num;
    ap_slotmem_type_t type;
};
#define GEOMETRY_BYTES APR_ALIGN_DEFAULT(sizeof(struct geometry))

/* What a slotmem's file holds, and where in it. */
struct image {
    unsigned char *bytes;
    unsigned char *slots, *in_use, *digest, *geometry;
    apr_size_t total;
};

static struct image image_of(const ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    const apr_size_t slots = slotmem->size * slotmem->num;
    struct image image = {.total = HEAD_BYTES + slots + slotmem->num + APR_MD5_DIGESTSIZE +
                                   GEOMETRY_BYTES};
    image.bytes = apr_pcalloc(pool, image.total + 1); /* room to see that there is more */
    image.slots = image.bytes + HEAD_BYTES;
    image.in_use = image.slots + slots;
    image.digest = image.in_use + slotmem->num;
    image.geometry = image.digest + APR_MD5_DIGESTSIZE;
    return image;
}

static void digest(const struct image *image, unsigned char ret[APR_MD5_DIGESTSIZE]) {
    apr_md5(ret, image->bytes, (apr_size_t)(image->digest - image->bytes));
}

static void write_geometry(const ap_slotmem_instance_t *slotmem, unsigned char *to) {
    const struct geometry geometry = {slotmem->size, slotmem->num, slotmem->type};
    memset(to, 0, GEOMETRY_BYTES);
    memcpy(to, &geometry, sizeof geometry);
}

/* ---- reading */

/* Is it this slotmem's, and as it was written? */
static apr_status_t check(const ap_slotmem_instance_t *slotmem, const struct image *image,
                          apr_size_t n) {
    unsigned char right[APR_MD5_DIGESTSIZE];
    unsigned char geometry[GEOMETRY_BYTES];
    write_geometry(slotmem, geometry);
    if (n != image->total && n != image->total - sizeof geometry)
        return APR_INCOMPLETE;
    digest(image, right);
    if (memcmp(right, image->digest, sizeof right) != 0)
        return APR_EMISMATCH;
    return n == image->total && memcmp(geometry, image->geometry, sizeof geometry) != 0
               ? APR_EMISMATCH
               : APR_SUCCESS;
}

static apr_status_t read_file(const char *path, struct image *image, apr_size_t *n,
                              apr_pool_t *pool) {
    apr_file_t *file;
    apr_status_t status =
        apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_OS_DEFAULT, pool);
    if (status != APR_SUCCESS)
        return status;
    status = apr_file_read_full(file, image->bytes, image->total + 1, n);
    apr_file_close(file);
    return status == APR_EOF ? APR_SUCCESS : status;
}

static apr_status_t take_over(ap_slotmem_instance_t *slotmem, const struct image *image) {
    int r = segment_enter(slotmem);
    for (unsigned id = 0; r == 0 && id < slotmem->num; id++)
        if (image->in_use[id] != 0)
            r = shmc_slot_fgrab(slotmem->section, (int)id, SHMC_SLOT_STAYS);
    segment_leave();
    for (unsigned id = 0; r == 0 && id < slotmem->num; id++)
        memcpy(slotmem_at(slotmem, id), image->slots + id * slotmem->size, slotmem->size);
    return r == 0 ? APR_SUCCESS : APR_FROM_OS_ERROR(-r);
}

static apr_status_t read_into(ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    struct image image = image_of(slotmem, pool);
    apr_size_t n = 0;
    apr_status_t status = read_file(slotmem->persist, &image, &n, pool);
    if (status == APR_SUCCESS)
        status = check(slotmem, &image, n);
    return status == APR_SUCCESS ? take_over(slotmem, &image) : status;
}

/* ---- writing */

static apr_status_t fill(ap_slotmem_instance_t *slotmem, const struct image *image) {
    const bool forgets = (slotmem->type & AP_SLOTMEM_TYPE_CLEARINUSE) != 0;
    unsigned free_slots = 0;
    for (unsigned id = 0; id < slotmem->num; id++) {
        const int in_use = forgets ? 0 : segment_in_use(slotmem, id);
        if (in_use < 0)
            return APR_FROM_OS_ERROR(-in_use);
        memcpy(image->slots + id * slotmem->size, slotmem_at(slotmem, id), slotmem->size);
        image->in_use[id] = (unsigned char)in_use;
        free_slots += in_use == 0;
    }
    memcpy(image->bytes, &free_slots, sizeof free_slots);
    digest(image, image->digest);
    write_geometry(slotmem, image->geometry);
    return APR_SUCCESS;
}

static apr_status_t write_file(const char *path, const struct image *image, apr_pool_t *pool) {
    apr_file_t *file;
    apr_status_t status = apr_file_open(
        &file, path, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_EXCL | APR_FOPEN_BINARY,
        APR_FPROT_UREAD | APR_FPROT_UWRITE, pool);
    if (status != APR_SUCCESS)
        return status;
    status = apr_file_write_full(file, image->bytes, image->total, NULL);
    if (status == APR_SUCCESS)
        status = apr_file_sync(file);
    const apr_status_t closed = apr_file_close(file);
    return status == APR_SUCCESS ? closed : status;
}

static apr_status_t write_from(ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    const struct image image = image_of(slotmem, pool);
    const char *fresh = apr_pstrcat(pool, slotmem->persist, ".new", NULL);
    apr_status_t status = fill(slotmem, &image);
    if (status != APR_SUCCESS)
        return status;
    apr_file_remove(fresh, pool); /* of a httpd that was killed in here */
    status = write_file(fresh, &image, pool);
    if (status == APR_SUCCESS)
        status = apr_file_rename(fresh, slotmem->persist, pool);
    if (status != APR_SUCCESS)
        apr_file_remove(fresh, pool);
    return status;
}

/* ---- both, with memory that goes at once */

typedef apr_status_t transfer(ap_slotmem_instance_t *slotmem, apr_pool_t *pool);

static apr_status_t with_pool(ap_slotmem_instance_t *slotmem, apr_pool_t *pool, transfer *how) {
    apr_pool_t *own;
    apr_status_t status = apr_pool_create(&own, pool);
    if (status == APR_SUCCESS) {
        status = how(slotmem, own);
        apr_pool_destroy(own);
    }
    return status;
}

apr_status_t persist_read(ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    return with_pool(slotmem, pool, read_into);
}

apr_status_t persist_write(ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    return with_pool(slotmem, pool, write_from);
}
