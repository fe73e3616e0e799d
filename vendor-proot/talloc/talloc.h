/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
 *
 * A small stand-in for libtalloc: just what PRoot calls, with the documented behaviour of
 * talloc 2. Written from talloc's documentation; no code of talloc is in here.
 *
 * Every allocation ("chunk") hangs below a parent and is freed with it. A chunk may also be
 * held by references: handles that live below other chunks. When the parent goes away first,
 * the owner of the latest reference becomes the parent. The NULL context is the root.
 */
#ifndef TALLOC_H
#define TALLOC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>	/* PRoot relies on these two coming with talloc.h */
#include <string.h>

typedef void TALLOC_CTX;

/* A chunk's name is the name of its type, its own text for a string, or a fixed text. */

#define talloc(ctx, type)             ((type *) talloc_named_((ctx), sizeof(type), #type))
#define talloc_zero(ctx, type)        ((type *) talloc_zero_named_((ctx), sizeof(type), #type))
#define talloc_new(ctx)               talloc_named_((ctx), 0, "context")
#define talloc_size(ctx, size)        talloc_named_((ctx), (size), "bytes")
#define talloc_zero_size(ctx, size)   talloc_zero_named_((ctx), (size), "bytes")
#define talloc_array(ctx, type, n) \
	((type *) talloc_array_((ctx), sizeof(type), (n), false, #type))
#define talloc_zero_array(ctx, type, n) \
	((type *) talloc_array_((ctx), sizeof(type), (n), true, #type))
#define talloc_realloc(ctx, ptr, type, n) \
	((type *) talloc_realloc_((ctx), (ptr), sizeof(type), (n), #type))
#define talloc_memdup(ctx, ptr, size) talloc_memdup_((ctx), (ptr), (size))
#define talloc_array_length(array)    (talloc_get_size(array) / sizeof(*(array)))

#define talloc_reference(ctx, ptr)    ((__typeof__(ptr)) talloc_reference_((ctx), (ptr)))
#define talloc_reparent(old, ctx, ptr) \
	((__typeof__(ptr)) talloc_reparent_((old), (ctx), (ptr)))
#define talloc_get_type(ptr, type)       ((type *) talloc_check_name_((ptr), #type))
#define talloc_get_type_abort(ptr, type) ((type *) talloc_check_name_abort_((ptr), #type))
#define talloc_set_destructor(ptr, function) do {				\
		int (*checked_)(__typeof__(ptr)) = (function);			\
		talloc_set_destructor_((ptr), (int (*)(void *)) checked_);	\
	} while (0)
#define TALLOC_FREE(ptr) do {				\
		if ((ptr) != NULL) {			\
			talloc_free(ptr);		\
			(ptr) = NULL;			\
		}					\
	} while (0)

/* Chunks freed when the program exits, destructors included. */
void *talloc_autofree_context(void);

/* Frees a chunk and all below it. -1 if it is still referenced or a destructor refused. */
int talloc_free(void *ptr);

/* Takes away one hold that @ctx has on @ptr, a reference or the parenthood; frees @ptr with
 * the last one. -1 if @ctx has none. */
int talloc_unlink(const void *ctx, void *ptr);

void *talloc_parent(const void *ptr);
size_t talloc_reference_count(const void *ptr);
size_t talloc_get_size(const void *ptr);
const char *talloc_get_name(const void *ptr);
void talloc_set_name_const(const void *ptr, const char *name);

char *talloc_strdup(const void *ctx, const char *text);
char *talloc_strndup(const void *ctx, const char *text, size_t size);
char *talloc_asprintf(const void *ctx, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Calls back for @ptr and everything below it; references are reported, not followed. */
void talloc_report_depth_cb(const void *ptr, int depth, int max_depth,
	void (*callback)(const void *ptr, int depth, int max_depth, int is_ref, void *data),
	void *data);

void talloc_report_depth_file(const void *ptr, int depth, int max_depth, FILE *file);

static inline void talloc_enable_leak_report(void) { }

/* Behind the macros. */
void *talloc_named_(const void *ctx, size_t size, const char *name);
void *talloc_zero_named_(const void *ctx, size_t size, const char *name);
void *talloc_array_(const void *ctx, size_t size, size_t n, bool zero, const char *name);
void *talloc_realloc_(const void *ctx, void *ptr, size_t size, size_t n, const char *name);
void *talloc_memdup_(const void *ctx, const void *ptr, size_t size);
void *talloc_reference_(const void *ctx, const void *ptr);
void *talloc_reparent_(const void *old_ctx, const void *ctx, const void *ptr);
void *talloc_check_name_(const void *ptr, const char *name);
void *talloc_check_name_abort_(const void *ptr, const char *name);
void talloc_set_destructor_(const void *ptr, int (*destructor)(void *));

#endif /* TALLOC_H */
