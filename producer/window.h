/*
 * window.h - what the stream did to a table's rows while a chunk of them was being read.
 *
 * A window is open from before its chunk is read until the stream has passed a mark that was written after. Everything that was
 * streamed before is in the chunk, nothing behind the mark is; what lies between may be in it or not. So each row of the
 * chunk is put to where it stands at the mark: the changes of its key in the window are laid over it, in order. That is
 * right whichever of them the chunk has seen already: a column has the value of the last change that brings it, and one that no change
 * brings (unchanged TOAST) the value it was read with. Pure.
 */
#ifndef PRODUCER_WINDOW_H
#define PRODUCER_WINDOW_H

#include "core/arena.h"
#include "core/event.h"

struct window;

/* bytes_max: of the changes kept; then the window is of no use. */
struct window *window_open(size_t bytes_max);
void window_close(struct window *w);

/* A change of the table, as the stream brings it. Truncates too. */
void window_change(struct window *w, const struct change *ch);

/* Too much was changed, or two table versions were: the chunk must be read again. */
bool window_spoilt(const struct window *w);

/* No row was changed. */
bool window_quiet(const struct window *w);

/* The table version of the changes; NULL: there were none. */
const struct table *window_table(const struct window *w);

/*
 * The row (tbl->ncols values) as it stands at the mark: NULL when it is gone, else row itself or, laid over, a copy in a. Values may
 * point into the window.
 */
const struct value *window_row(const struct window *w, const struct table *tbl, const struct value *row, struct arena *a);

#endif
