#include "json.h"

static int append(const char *bytes, size_t len, void *out)
{
    rb_str_append(out, bytes, len);
    return rb_str_failed(out) ? -1 : 0;
}

enum rb_status rb_json_print(struct rb_str *out, json_t *tree)
{
    if (!tree)
        return RB_NO_MEMORY;
    int failed = json_dump_callback(tree, append, out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(tree);
    return failed ? RB_NO_MEMORY : RB_OK;
}

void rb_json_release(json_t **tree)
{
    json_decref(*tree);
    *tree = NULL;
}
