#include "message_body.h"

#include "relay.h"

enum { LOC_MAX = 96 };

static void issue(struct rb_wire_issues *issues, const char *type, const char *loc, const char *part,
                  const char *sentence, const struct rb_json_value *input)
{
    char full[LOC_MAX];
    snprintf(full, sizeof full, "%s%s%s", loc, *part ? "/" : "", part);
    rb_wire_issue(issues, type, full, sentence, input);
}

bool rb_topic_value_read(struct rb_json_value value, const char *loc, struct rb_wire_issues *issues, struct rb_str *ret)
{
    if (value.kind != RB_JSON_STRING) {
        rb_wire_issue(issues, "string_type", loc, "A topic name must be a string.", &value);
        return false;
    }
    enum rb_status status = rb_json_string(value, ret);
    if (rb_str_failed(ret)) {
        issues->no_memory = true;
        return false;
    }
    if (status != RB_OK || !rb_topic_name_valid(rb_str_span(ret))) {
        rb_wire_issue(issues, "value_error", loc,
                      "A topic name has 1 to 255 letters, digits, '_' and '-', at least one of them a letter or digit.",
                      &value);
        return false;
    }
    return true;
}

static bool read_payload(struct rb_json_value payload, const char *loc, struct rb_wire_issues *issues)
{
    if (payload.kind != RB_JSON_OBJECT) {
        issue(issues, "dict_type", loc, "payload", "The payload must be an object.", &payload);
        return false;
    }
    if (rb_json_levels(payload) > RB_PAYLOAD_LEVELS) {
        issue(issues, "recursion_limit", loc, "payload",
              "The payload is nested deeper than 255 levels (a value in the innermost container counts as one): every "
              "later read of it would fail at the relay.",
              NULL);
        return false;
    }
    return true;
}

static bool read_metadata(struct rb_json_value metadata, const char *loc, struct rb_wire_issues *issues)
{
    if (metadata.kind != RB_JSON_OBJECT) {
        issue(issues, "dict_type", loc, "metadata", "The metadata must be an object of strings.", &metadata);
        return false;
    }
    bool good = true;
    struct rb_json_walk walk = rb_json_walk(metadata);
    struct rb_json_value key, value;
    while (rb_json_next(&walk, &key, &value))
        if (value.kind != RB_JSON_STRING && good) {
            issue(issues, "string_type", loc, "metadata", "Every value in the metadata must be a string.", &value);
            good = false;
        }
    return good;
}

bool rb_message_body_read(struct rb_json_value value, const char *loc, struct rb_wire_issues *issues,
                          struct rb_message_body *ret)
{
    *ret = (struct rb_message_body){0};
    if (value.kind != RB_JSON_OBJECT) {
        issue(issues, "model_attributes_type", loc, "", "A message must be an object.", &value);
        return false;
    }
    bool good = true;
    struct rb_json_value member;
    char topic_loc[LOC_MAX];
    snprintf(topic_loc, sizeof topic_loc, "%s/topic", loc);
    if (!rb_json_member(value, "topic", &member)) {
        issue(issues, "missing", loc, "topic", "A topic is required.", NULL);
        good = false;
    } else {
        good = rb_topic_value_read(member, topic_loc, issues, &ret->topic) && good;
    }
    if (!rb_json_member(value, "payload", &member)) {
        issue(issues, "missing", loc, "payload", "A payload is required.", NULL);
        good = false;
    } else if ((good = read_payload(member, loc, issues) && good)) {
        ret->payload = member.text;
    }
    if (rb_json_member(value, "ttl", &member) && member.kind != RB_JSON_NULL &&
        rb_json_integer(member, 1, INT64_MAX / 1000, &ret->ttl_s) != RB_OK) {
        issue(issues, member.kind == RB_JSON_NUMBER ? "greater_than" : "int_type", loc, "ttl",
              "ttl must be a whole number of seconds above 0.", &member);
        good = false;
    }
    if (rb_json_member(value, "metadata", &member) && member.kind != RB_JSON_NULL) {
        good = read_metadata(member, loc, issues) && good;
        ret->metadata = member.text;
    }
    return good;
}

void rb_message_body_free(struct rb_message_body *message)
{
    rb_str_free(&message->topic);
}
