/* mpx_frame.h: how a message lies in MPI messages (docs/developers/protocol.md, 1): small ones whole, large ones announced. Pure. */
#ifndef XSE_MPX_FRAME_H
#define XSE_MPX_FRAME_H

#include "wire/msg.h"

#define MPX_SMALL 65536u /* bytes of a message that goes in one piece */
#define MPX_PIECE (1u << 30) /* most bytes of a piece: MPI counts in ints */

/* A small message's bytes, or a large one's announcement, to a message. An announcement's pieces are allocated, empty,
 * as the slices of the message's payload. Returns a wire error, or WIRE_BAD_LENGTH too when there is no memory. */
enum wire_error mpx_frame_read(struct bytes *frame, bool announces, struct msg **out);
/* The bytes to send for a small message, or the announcement of one in these pieces. */
struct bytes *mpx_frame_small(const struct msg *msg);
struct bytes *mpx_frame_announce(const struct msg *msg, const struct parts *pieces);
/* A payload in pieces worth a message each: small neighbours gathered, large ones cut. */
void mpx_frame_pieces(const struct msg *msg, struct parts *pieces);

#endif
