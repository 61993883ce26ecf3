/* Numbers in Avro's order of bytes, and short copies. */

#ifndef SPLNODE_CODEC_BITS_H
#define SPLNODE_CODEC_BITS_H

#include "../native.h"

/* IEEE 754, little-endian. */
static inline uint64_t little_endian(uint64_t bits, int size)
{
#if PY_BIG_ENDIAN
    uint64_t swapped = 0;
    for (int i = 0; i < size; i++)
        swapped = swapped << 8 | (bits >> 8 * i & 0xff);
    return swapped;
#else
    (void)size;
    return bits;
#endif
}

static inline double unpack_float(const uint8_t *bytes)
{
    uint32_t bits;
    float number;
    memcpy(&bits, bytes, 4);
    bits = (uint32_t)little_endian(bits, 4);
    memcpy(&number, &bits, 4);
    return number;
}

static inline double unpack_double(const uint8_t *bytes)
{
    uint64_t bits;
    double number;
    memcpy(&bits, bytes, 8);
    bits = little_endian(bits, 8);
    memcpy(&number, &bits, 8);
    return number;
}

static inline void pack_float(uint8_t *bytes, double real)
{
    float number = (float)real;
    uint32_t bits;
    memcpy(&bits, &number, 4);
    bits = (uint32_t)little_endian(bits, 4);
    memcpy(bytes, &bits, 4);
}

static inline void pack_double(uint8_t *bytes, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    bits = little_endian(bits, 8);
    memcpy(bytes, &bits, 8);
}

/* A copy without a call where it is short, as most strings are; the last words may overlap. */
static inline void copy(uint8_t *to, const uint8_t *from, Py_ssize_t length)
{
    if (length > 32)
        memcpy(to, from, (size_t)length);
    else if (length >= 8) {
        Py_ssize_t done = 0;
        for (; done < length - 8; done += 8)
            memcpy(to + done, from + done, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    }
    else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + length - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + length - 4, &last, 4);
    }
    else {
        for (Py_ssize_t done = 0; done < length; done++)
            to[done] = from[done];
    }
}

#endif
