/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
 *
 * See talloc.h.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "talloc.h"

typedef struct chunk {
	struct chunk *parent;		/* NULL for the root itself only */
	struct chunk *child;		/* latest first */
	struct chunk *previous;
	struct chunk *next;
	struct handle *handles;		/* references to this chunk, latest first */
	int (*destructor)(void *);
	const char *name;
	size_t size;
	bool being_freed;
	bool being_reported;
} __attribute__((aligned(16))) Chunk;

/* What a reference is made of; it is the payload of a chunk below the referring context. */
typedef struct handle {
	struct handle *next;
	Chunk *target;
} Handle;

static const char handle_name[] = ".reference";
static Chunk root;

static Chunk *chunk_of(const void *ptr)
{
	return ptr == NULL ? &root : (Chunk *) ptr - 1;
}

static void *payload_of(Chunk *chunk)
{
	return chunk == NULL || chunk == &root ? NULL : chunk + 1;
}

static void attach(Chunk *chunk, Chunk *parent)
{
	chunk->parent = parent;
	chunk->previous = NULL;
	chunk->next = parent->child;
	if (chunk->next != NULL)
		chunk->next->previous = chunk;
	parent->child = chunk;
}

static void detach(Chunk *chunk)
{
	if (chunk->previous != NULL)
		chunk->previous->next = chunk->next;
	else
		chunk->parent->child = chunk->next;
	if (chunk->next != NULL)
		chunk->next->previous = chunk->previous;
}

static int free_chunk(Chunk *chunk);

static bool is_below(const Chunk *chunk, const Chunk *ancestor)
{
	while (chunk != NULL && chunk != ancestor)
		chunk = chunk->parent;
	return chunk != NULL;
}

static int remove_handle(void *ptr)
{
	Handle *handle = ptr;
	Handle **link;

	for (link = &handle->target->handles; *link != handle; link = &(*link)->next)
		;
	*link = handle->next;
	return 0;
}

static void free_children(Chunk *chunk)
{
	while (chunk->child != NULL) {
		Chunk *child = chunk->child;
		Chunk *heir = child->handles != NULL ? chunk_of(child->handles)->parent : NULL;

		if (free_chunk(child) == 0)
			continue;

		/* Still held elsewhere, or its destructor refused: it lives on below the
		 * owner of the reference that was just dropped, or else higher up. */
		if (heir == NULL || is_below(heir, child))
			heir = chunk->parent;
		detach(child);
		attach(child, heir);
	}
}

/* As talloc_free(), but a referenced chunk only loses its latest reference. */
static int free_chunk(Chunk *chunk)
{
	if (chunk->handles != NULL) {
		Chunk *holder = chunk_of(chunk->handles);
		bool held_from_below = is_below(holder, chunk);

		free_chunk(holder);
		return held_from_below ? free_chunk(chunk) : -1;
	}

	if (chunk->being_freed)
		return -1;
	chunk->being_freed = true;

	if (chunk->destructor != NULL && chunk->destructor(payload_of(chunk)) == -1) {
		chunk->being_freed = false;
		return -1;
	}
	chunk->destructor = NULL;

	free_children(chunk);
	detach(chunk);
	free(chunk);
	return 0;
}

int talloc_free(void *ptr)
{
	Chunk *chunk;

	if (ptr == NULL)
		return -1;

	chunk = chunk_of(ptr);
	if (chunk->handles == NULL)
		return free_chunk(chunk);

	/* With one reference and no parent there is no doubt who gets it. */
	if (chunk->parent == &root && chunk->handles->next == NULL)
		return talloc_unlink(NULL, ptr);
	return -1;
}

static Handle *find_handle(const Chunk *holder, const Chunk *target)
{
	Handle *handle = target->handles;

	while (handle != NULL && chunk_of(handle)->parent != holder)
		handle = handle->next;
	return handle;
}

int talloc_unlink(const void *ctx, void *ptr)
{
	Chunk *chunk = chunk_of(ptr);
	Handle *handle;
	Chunk *heir;

	if (ptr == NULL)
		return -1;

	handle = find_handle(chunk_of(ctx), chunk);
	if (handle != NULL)
		return free_chunk(chunk_of(handle));

	if (chunk->parent != chunk_of(ctx))
		return -1;
	if (chunk->handles == NULL)
		return free_chunk(chunk);

	heir = chunk_of(chunk->handles)->parent;
	free_chunk(chunk_of(chunk->handles));
	detach(chunk);
	attach(chunk, heir);
	return 0;
}

void *talloc_named_(const void *ctx, size_t size, const char *name)
{
	Chunk *chunk;

	if (size > SIZE_MAX - sizeof(Chunk))
		return NULL;
	chunk = malloc(sizeof(Chunk) + size);
	if (chunk == NULL)
		return NULL;

	memset(chunk, 0, sizeof(Chunk));
	chunk->name = name;
	chunk->size = size;
	attach(chunk, chunk_of(ctx));
	return payload_of(chunk);
}

void *talloc_zero_named_(const void *ctx, size_t size, const char *name)
{
	void *ptr = talloc_named_(ctx, size, name);

	return ptr == NULL ? NULL : memset(ptr, 0, size);
}

void *talloc_array_(const void *ctx, size_t size, size_t n, bool zero, const char *name)
{
	if (n > SIZE_MAX / size)
		return NULL;
	return (zero ? talloc_zero_named_ : talloc_named_)(ctx, size * n, name);
}

void *talloc_realloc_(const void *ctx, void *ptr, size_t size, size_t n, const char *name)
{
	Chunk *chunk;
	Chunk *child;

	if (ptr == NULL)
		return talloc_array_(ctx, size, n, false, name);
	if (n == 0) {
		talloc_unlink(ctx, ptr);
		return NULL;
	}

	/* Whoever holds a reference would be left with the old address. */
	if (chunk_of(ptr)->handles != NULL || n > (SIZE_MAX - sizeof(Chunk)) / size)
		return NULL;
	chunk = realloc(chunk_of(ptr), sizeof(Chunk) + size * n);
	if (chunk == NULL)
		return NULL;

	chunk->name = name;
	chunk->size = size * n;
	if (chunk->previous != NULL)
		chunk->previous->next = chunk;
	else
		chunk->parent->child = chunk;
	if (chunk->next != NULL)
		chunk->next->previous = chunk;
	for (child = chunk->child; child != NULL; child = child->next)
		child->parent = chunk;
	return payload_of(chunk);
}

void *talloc_memdup_(const void *ctx, const void *data, size_t size)
{
	void *ptr = data == NULL ? NULL : talloc_named_(ctx, size, "memdup");

	return ptr == NULL ? NULL : memcpy(ptr, data, size);
}

void *talloc_reference_(const void *ctx, const void *ptr)
{
	Chunk *target = chunk_of(ptr);
	Handle *handle;

	if (ptr == NULL)
		return NULL;
	handle = talloc_named_(ctx, sizeof(Handle), handle_name);
	if (handle == NULL)
		return NULL;

	handle->target = target;
	handle->next = target->handles;
	target->handles = handle;
	talloc_set_destructor_(handle, remove_handle);
	return (void *) ptr;
}

static void *steal(const void *ctx, const void *ptr)
{
	/* Not below itself: the whole tree would be lost. */
	if (ptr == NULL || is_below(chunk_of(ctx), chunk_of(ptr)))
		return (void *) ptr;

	detach(chunk_of(ptr));
	attach(chunk_of(ptr), chunk_of(ctx));
	return (void *) ptr;
}

void *talloc_reparent_(const void *old_ctx, const void *ctx, const void *ptr)
{
	Handle *handle;

	if (ptr == NULL)
		return NULL;
	if (chunk_of(ptr)->parent == chunk_of(old_ctx))
		return steal(ctx, ptr);

	handle = find_handle(chunk_of(old_ctx), chunk_of(ptr));
	if (handle == NULL)
		return NULL;
	steal(ctx, handle);
	return (void *) ptr;
}

void *talloc_parent(const void *ptr)
{
	return ptr == NULL ? NULL : payload_of(chunk_of(ptr)->parent);
}

size_t talloc_reference_count(const void *ptr)
{
	const Handle *handle;
	size_t count = 0;

	for (handle = chunk_of(ptr)->handles; handle != NULL; handle = handle->next)
		count++;
	return count;
}

size_t talloc_get_size(const void *ptr)
{
	return ptr == NULL ? 0 : chunk_of(ptr)->size;
}

const char *talloc_get_name(const void *ptr)
{
	return ptr == NULL ? "root" : chunk_of(ptr)->name;
}

void talloc_set_name_const(const void *ptr, const char *name)
{
	chunk_of(ptr)->name = name;
}

void talloc_set_destructor_(const void *ptr, int (*destructor)(void *))
{
	chunk_of(ptr)->destructor = destructor;
}

void *talloc_check_name_(const void *ptr, const char *name)
{
	return ptr != NULL && strcmp(chunk_of(ptr)->name, name) == 0 ? (void *) ptr : NULL;
}

void *talloc_check_name_abort_(const void *ptr, const char *name)
{
	if (talloc_check_name_(ptr, name) == NULL) {
		fprintf(stderr, "talloc: expected %s, got %s\n", name, talloc_get_name(ptr));
		abort();
	}
	return (void *) ptr;
}

char *talloc_strndup(const void *ctx, const char *text, size_t size)
{
	size_t length;
	char *copy;

	if (text == NULL)
		return NULL;
	length = strnlen(text, size);
	copy = talloc_named_(ctx, length + 1, "");
	if (copy == NULL)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	talloc_set_name_const(copy, copy);
	return copy;
}

char *talloc_strdup(const void *ctx, const char *text)
{
	return talloc_strndup(ctx, text, SIZE_MAX);
}

char *talloc_asprintf(const void *ctx, const char *format, ...)
{
	va_list arguments;
	char *result;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return NULL;

	result = talloc_named_(ctx, (size_t) length + 1, "");
	if (result == NULL)
		return NULL;
	va_start(arguments, format);
	vsnprintf(result, (size_t) length + 1, format, arguments);
	va_end(arguments);
	talloc_set_name_const(result, result);
	return result;
}

static void *autofree_context;

static void free_autofree_context(void)
{
	talloc_free(autofree_context);
	autofree_context = NULL;
}

void *talloc_autofree_context(void)
{
	if (autofree_context == NULL) {
		autofree_context = talloc_named_(NULL, 0, "autofree_context");
		atexit(free_autofree_context);
	}
	return autofree_context;
}

void talloc_report_depth_cb(const void *ptr, int depth, int max_depth,
	void (*callback)(const void *ptr, int depth, int max_depth, int is_ref, void *data),
	void *data)
{
	Chunk *chunk = chunk_of(ptr);
	Chunk *child;
	Chunk *next;

	if (chunk->being_reported || (max_depth >= 0 && depth >= max_depth))
		return;
	chunk->being_reported = true;
	callback(ptr, depth, max_depth, 0, data);

	/* The callback may free what it is told about, but not the next sibling. */
	for (child = chunk->child; child != NULL; child = next) {
		next = child->next;
		if (child->name == handle_name)
			callback(payload_of(((Handle *) payload_of(child))->target), depth + 1,
				max_depth, 1, data);
		else
			talloc_report_depth_cb(payload_of(child), depth + 1, max_depth,
				callback, data);
	}
	chunk->being_reported = false;
}

static void print_chunk(const void *ptr, int depth, int max_depth, int is_ref, void *file)
{
	(void) max_depth;
	fprintf(file, "%*s%s%s: %zu bytes, %zu references\n", depth * 4, "",
		is_ref ? "reference to " : "", talloc_get_name(ptr), talloc_get_size(ptr),
		talloc_reference_count(ptr));
}

void talloc_report_depth_file(const void *ptr, int depth, int max_depth, FILE *file)
{
	talloc_report_depth_cb(ptr, depth, max_depth, print_chunk, file);
}
