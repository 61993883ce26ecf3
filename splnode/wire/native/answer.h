/* Answers of a Pipeline: those of its methods that take them. */

#ifndef SPLNODE_WIRE_ANSWER_H
#define SPLNODE_WIRE_ANSWER_H

#include "pipeline.h"

PyObject *pipeline_receive(Pipeline *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *pipeline_answer(Pipeline *self, PyObject *args);
PyObject *pipeline_feed(Pipeline *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *pipeline_complete(Pipeline *self, PyObject *args);
PyObject *pipeline_begin_large(Pipeline *self, PyObject *args);
PyObject *pipeline_answer_large(Pipeline *self, PyObject *object);
PyObject *pipeline_called(Pipeline *self, PyObject *serial);

#endif
