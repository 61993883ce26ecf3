/* Netty frames of one buffer, the only ones that are ordinary: serial | 1 | length | bytes, big-endian words.
 * (avro-ipc-netty, NettyTransportCodec; the rest of the framing is wire/netty.py's) */

#ifndef SPLNODE_WIRE_FRAMES_H
#define SPLNODE_WIRE_FRAMES_H

#include "engine.h"

#define FRAME_HEAD 12

typedef struct {
    uint32_t serial;
    const uint8_t *body;
    Py_ssize_t length;
} Frame;

static inline uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void put_word(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

/* 1 and the frame if an ordinary one of at most `largest` bytes stands whole at `*at`, which moves behind it;
 * 0 for anything else: ask wire/netty.py. */
static inline int next_frame(const uint8_t **at, const uint8_t *end, Py_ssize_t largest, Frame *frame)
{
    if (end - *at < FRAME_HEAD || word_at(*at + 4) != 1)
        return 0;
    Py_ssize_t length = (Py_ssize_t)word_at(*at + 8);
    if (length > largest || length > end - *at - FRAME_HEAD)
        return 0;
    *frame = (Frame){word_at(*at), *at + FRAME_HEAD, length};
    *at += FRAME_HEAD + length;
    return 1;
}

#define LEAST 65536    /* bytes from which on a value is received by itself; as in room.py */
#define GROWTH 8       /* as in room.py */
#define ENOUGH_AHEAD (LEAST / GROWTH) /* bytes of a frame that must be here for that */

/* Whether a frame of at most `largest` bytes begins at `at` that is large, and of which not all is here. */
static inline int begins_large(const uint8_t *at, const uint8_t *end, Py_ssize_t largest, Frame *frame)
{
    if (end - at < FRAME_HEAD + ENOUGH_AHEAD || word_at(at + 4) != 1)
        return 0;
    *frame = (Frame){word_at(at), at + FRAME_HEAD, (Py_ssize_t)word_at(at + 8)};
    return frame->length >= LEAST && frame->length <= largest && frame->length > end - frame->body;
}

/* Writes the head of a frame of `length` bytes where FRAME_HEAD bytes of room were left for it. */
static inline void put_head(uint8_t *head, uint32_t serial, Py_ssize_t length)
{
    put_word(head, serial);
    put_word(head + 4, 1);
    put_word(head + 8, (uint32_t)length);
}

#endif
