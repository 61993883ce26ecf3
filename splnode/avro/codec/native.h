/* What the codec shares with the package's other native parts: small things, and its walkers, with no Python call
 * between.
 *
 * The API is found through the capsule `splnode.avro.codec._native._api`. Whoever uses it keeps a reference to
 * that module. The codecs are the module's Encoder and Decoder objects; ask `is_encoder` and `is_decoder` first.
 */

#ifndef SPLNODE_CODEC_NATIVE_H
#define SPLNODE_CODEC_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SPLNODE_CODEC_CAPSULE "splnode.avro.codec._native._api"

/* Bytes that grow at their end. Zeroed memory is an empty one; `bytes` is PyMem memory, its owner's to free. */
typedef struct {
    uint8_t *bytes;
    Py_ssize_t used, size;
    bool cuts;        /* an encoding that holds large bytes objects is given in `parts`, where there are none yet */
    PyObject *parts;  /* a list of bytes, the owner's, or NULL */
    Py_ssize_t given; /* bytes in them */
} Output;

/* Where `length` more bytes may be written; they count once `used` says so. NULL with MemoryError. */
static inline uint8_t *output_room(Output *out, Py_ssize_t length)
{
    if (out->size - out->used < length) {
        Py_ssize_t size = Py_MAX(out->size * 2, out->used + length + 512);
        uint8_t *bytes = PyMem_Realloc(out->bytes, (size_t)size);
        if (bytes == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        out->bytes = bytes;
        out->size = size;
    }
    return out->bytes + out->used;
}

/* The exception being raised, taken off the thread; put back with raise_again. */
static inline PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

static inline void raise_again(PyObject *error) /* steals */
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

typedef struct {
    int (*is_encoder)(PyObject *object);
    int (*is_decoder)(PyObject *object);

    /* Appends the encoding of `value` (or see `cuts`). -1 with an exception as of Encoder.encode, and `out` as it was. The value's
     * own code may run (logical types, defaults) and may use `out`'s owner: what it appends stands before. */
    int (*encode)(PyObject *encoder, PyObject *value, Output *out);

    /* The same for a record whose fields are given in the order of its schema: all of them, none NULL, each
     * owned by the caller meanwhile. */
    int (*encode_fields)(PyObject *encoder, PyObject *const *fields, Py_ssize_t count, Output *out);

    /* The datum that begins at `*at`, which moves behind it. NULL with an exception as of Decoder.decode. The bytes
     * must stay where they are meanwhile, whatever Python code runs. */
    PyObject *(*decode)(PyObject *decoder, const uint8_t **at, const uint8_t *end);

    /* For data that end too soon: 1, and where the bytes or string begins in which they do, and its size; 0 where they
     * end elsewhere. -1 with an exception that is no DataError. */
    int (*locate)(PyObject *decoder, const uint8_t *at, const uint8_t *end, const uint8_t **place, Py_ssize_t *size);

    /* As `decode` where `part`, bytes of more than `end - place`, stood at `place`. As of Decoder.decode_apart. */
    PyObject *(*decode_apart)(PyObject *decoder, const uint8_t **at, const uint8_t *end, const uint8_t *place,
                              PyObject *part);

    /* Whether a decoder gives dicts of just these fields, in this order; and the same datum as a tuple of them. */
    int (*gives_fields)(PyObject *decoder, PyObject *names);
    PyObject *(*decode_fields)(PyObject *decoder, const uint8_t **at, const uint8_t *end);
} CodecApi;

#endif
