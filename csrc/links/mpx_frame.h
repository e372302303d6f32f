/* mpx_frame.h: how a message lies in MPI messages (docs/developers/protocol.md, 1). Pure.
 *
 * A small message is one frame: head and payload. A large one is an announcement, which is a frame that says how long its
 * table is; the table: its head and the sizes of its pieces; and the pieces. The tag of a frame numbers the frames from
 * one rank to another, modulo MPX_SEQUENCES. */
#ifndef XSE_MPX_FRAME_H
#define XSE_MPX_FRAME_H

#include "wire/msg.h"

/* So much every MPI sends without asking the receiver first (Open MPI's least limit is 4,096, its own header included): a
 * receive of a frame completes when it has come, whatever its sender does then. */
#define MPX_FRAME_BYTES 4032u
#define MPX_PIECE (8u << 20) /* most bytes of a piece */
#define MPX_PIECES_AT_ONCE 4 /* under way from one rank to another */
#define MPX_COPIED 65536u /* smaller slices of a large message are gathered */
#define MPX_SEQUENCES 0x4000u /* times two kinds: every MPI has tags up to 32,767 */
#define MPX_TAG_PIECE 1 /* of tables and pieces, which have a communicator of their own */

enum mpx_kind { MPX_SMALL = 0, MPX_ANNOUNCE = 1 };

int mpx_frame_tag(enum mpx_kind kind, uint64_t sequence);
enum mpx_kind mpx_frame_kind(int tag);
/* The sequence number of a frame with this tag: the one nearest to `near`. */
uint64_t mpx_frame_sequence(int tag, uint64_t near);

/* The MPI messages that a message goes as, in order: one slice, a frame; or announcement, table, pieces. They are made once
 * and belong to the message: all ranks to which it is sent share them. */
const struct parts *mpx_frame(struct msg *msg);

/* From the bytes of an announcement: how long the table is. */
enum wire_error mpx_frame_read_announcement(const uint8_t *p, size_t n, size_t *n_table);
/* From the bytes of a frame, or of a table: the message. A table's pieces are allocated, empty, as the slices of the
 * message's payload. Takes the reference. Returns a wire error, or WIRE_BAD_LENGTH too when there is no memory. */
enum wire_error mpx_frame_read(struct bytes *bytes, bool is_table, struct msg **out);

#endif
