/* What is left to spend on one datum: levels, and nodes by plan.py's charges. */

#ifndef SPLNODE_CODEC_BUDGET_H
#define SPLNODE_CODEC_BUDGET_H

#include "plan.h"

#define SHALLOW 64 /* levels that any stack has room for: below 48 KiB */

/* What is left to spend on one datum. */
typedef struct {
    State *state;
    const Limits *limits;
    Py_ssize_t depth_left, nodes_left;
    bool deep; /* then the interpreter is asked whether there is stack left */
} Budget;

static inline Budget new_budget(Codec *codec)
{
    const Limits *limits = &codec->limits;
    return (Budget){codec->state, limits, limits->depth, limits->nodes, limits->depth > SHALLOW};
}

static inline int spend(Budget *budget, int64_t nodes)
{
    if (nodes <= budget->nodes_left) {
        budget->nodes_left -= (Py_ssize_t)nodes;
        return 0;
    }
    fail_limit(budget->state, "nodes", budget->limits->nodes, "too many values in one datum");
    return -1;
}

/* Charges for some items of an array or a map. Neither factor is so large that their product overflows: see limit and
 * fill_charges. */
static inline int spend_items(Budget *budget, int64_t count, int64_t each)
{
    return spend(budget, count <= budget->nodes_left ? count * each : INT64_MAX);
}

static inline int enter(Budget *budget)
{
    if (budget->depth_left == 0) {
        fail_limit(budget->state, "depth", budget->limits->depth, "records, arrays or maps nested too deep");
        return -1;
    }
    if (budget->deep && Py_EnterRecursiveCall(" in an Avro datum"))
        return -1;
    budget->depth_left--;
    return 0;
}

static inline void leave(Budget *budget)
{
    budget->depth_left++;
    if (budget->deep)
        Py_LeaveRecursiveCall();
}

int refuse_length(Budget *budget, int64_t length); /* errors.c */

static inline int check_length(Budget *budget, int64_t length)
{
    return length <= budget->limits->message_bytes ? 0 : refuse_length(budget, length);
}

static inline int check_size(Budget *budget, Py_ssize_t size)
{
    if (size <= budget->limits->message_bytes)
        return 0;
    fail_limit(budget->state, "message_bytes", budget->limits->message_bytes, "the encoded value is too long");
    return -1;
}

#endif
