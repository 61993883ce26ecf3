/* The three walkers over plans, as the module offers them: to Python, and to the package's other native parts. */

#ifndef SPLNODE_CODEC_WALKERS_H
#define SPLNODE_CODEC_WALKERS_H

#include "plan.h"

extern PyMethodDef encoder_methods[], decoder_methods[], conformer_methods[];

/* write.c */

/* The encoding of the value, as bytes. */
PyObject *encode(Codec *self, PyObject *value);

int api_encode(PyObject *encoder, PyObject *value, Output *out);
int api_encode_fields(PyObject *encoder, PyObject *const *fields, Py_ssize_t count, Output *out);

/* read.c */

PyObject *api_decode(PyObject *decoder, const uint8_t **at, const uint8_t *end);
int api_gives_fields(PyObject *decoder, PyObject *names);
PyObject *api_decode_fields(PyObject *decoder, const uint8_t **at, const uint8_t *end);
int api_locate(PyObject *decoder, const uint8_t *at, const uint8_t *end, const uint8_t **place, Py_ssize_t *size);
PyObject *api_decode_apart(PyObject *decoder, const uint8_t **at, const uint8_t *end, const uint8_t *place,
                           PyObject *part);

#endif
