#include "options.h"

#include "command.h"

enum { HELP_COLUMN = 28 };

static enum rb_status take(const struct rb_option *option, const char *value, struct rb_error *err)
{
    struct rb_texts *texts = option->ret;
    switch (option->kind) {
    case RB_OPTION_FLAG:
        *(bool *)option->ret = true;
        return RB_OK;
    case RB_OPTION_TEXT:
        *(const char **)option->ret = value;
        return RB_OK;
    case RB_OPTION_INTEGER:
        if (rb_span_to_i64(rb_span_of(value), option->min, option->max, option->ret) == RB_OK)
            return RB_OK;
        return rb_fail(err, RB_INVALID, "--%s takes a whole number from %lld to %lld, not \"%s\".", option->name,
                       (long long)option->min, (long long)option->max, value);
    case RB_OPTION_TEXTS:
        if (texts->count == RB_TEXTS_MAX)
            return rb_fail(err, RB_INVALID, "--%s may come %d times at most.", option->name, RB_TEXTS_MAX);
        texts->at[texts->count++] = value;
        return RB_OK;
    }
    return RB_INVALID;
}

static const struct rb_option *find(const struct rb_usage *usage, struct rb_span name)
{
    for (size_t i = 0; i < usage->option_count; i++)
        if (rb_span_is(name, usage->options[i].name))
            return &usage->options[i];
    return NULL;
}

/* One option, which begins with "--"; `*at` is moved past its value. */
static enum rb_status read_option(const struct rb_usage *usage, int argc, char **argv, int *at, struct rb_error *err)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    struct rb_span bare = {name, equals ? (size_t)(equals - name) : strlen(name)};
    const struct rb_option *option = find(usage, bare);
    if (!option)
        return rb_fail(err, RB_INVALID, "\"--%.*s\" is no option of %s.", (int)bare.len, bare.at, usage->command);
    if (option->kind == RB_OPTION_FLAG)
        return equals ? rb_fail(err, RB_INVALID, "--%s takes no value.", option->name) : take(option, NULL, err);
    if (equals)
        return take(option, equals + 1, err);
    if (*at + 1 == argc)
        return rb_fail(err, RB_INVALID, "--%s needs a value: %s.", option->name, option->value);
    return take(option, argv[++*at], err);
}

static enum rb_status take_operand(const struct rb_usage *usage, const char *value, struct rb_texts *operands,
                                   struct rb_error *err)
{
    if (operands->count == usage->operands_max || operands->count == RB_TEXTS_MAX)
        return rb_fail(err, RB_INVALID, "\"%s\" is one argument too many for %s.", value, usage->command);
    operands->at[operands->count++] = value;
    return RB_OK;
}

enum rb_status rb_options_read(const struct rb_usage *usage, int argc, char **argv, struct rb_texts *ret_operands,
                               bool *ret_help, struct rb_error *err)
{
    bool ended = false;
    *ret_help = false;
    ret_operands->count = 0;
    for (int i = 0; i < argc; i++) {
        enum rb_status status;
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
            continue;
        }
        if (!ended && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            *ret_help = true;
            return RB_OK;
        }
        if (!ended && strncmp(argv[i], "--", 2) == 0)
            status = read_option(usage, argc, argv, &i, err);
        else if (!ended && argv[i][0] == '-' && argv[i][1])
            status = rb_fail(err, RB_INVALID, "\"%s\" is no option; options begin with two dashes.", argv[i]);
        else
            status = take_operand(usage, argv[i], ret_operands, err);
        if (status != RB_OK)
            return status;
    }
    if (ret_operands->count < usage->operands_min)
        return rb_fail(err, RB_INVALID, "An argument is missing: " RB_PROGRAM " %s %.*s.", usage->command,
                       (int)strcspn(usage->synopsis, "\n"), usage->synopsis);
    return RB_OK;
}

static void add_indented(struct rb_str *out, const char *text, int column)
{
    for (const char *line = text, *end; *line; line = end) {
        end = strchrnul(line, '\n');
        if (line != text)
            rb_str_addf(out, "%*s", column, "");
        rb_str_append(out, line, (size_t)(end - line));
        rb_str_add(out, "\n");
        if (*end)
            end++;
    }
}

void rb_options_help(const struct rb_usage *usage, struct rb_str *out)
{
    rb_str_add(out, "Usage: " RB_PROGRAM " ");
    rb_str_addf(out, "%s%s", usage->command, *usage->synopsis ? " " : "");
    add_indented(out, usage->synopsis, (int)(sizeof "Usage: " RB_PROGRAM " " + strlen(usage->command)));
    if (!*usage->synopsis)
        rb_str_add(out, "\n");
    rb_str_addf(out, "\n%s\n\nOptions:\n", usage->about);
    for (size_t i = 0; i < usage->option_count; i++) {
        const struct rb_option *option = &usage->options[i];
        char left[64];
        int len = snprintf(left, sizeof left, "  --%s%s%s", option->name, option->value ? " " : "",
                           option->value ? option->value : "");
        if (len < HELP_COLUMN)
            rb_str_addf(out, "%-*s", HELP_COLUMN, left);
        else
            rb_str_addf(out, "%s\n%*s", left, HELP_COLUMN, "");
        add_indented(out, option->help, HELP_COLUMN);
    }
    rb_str_addf(out, "%-*s%s\n", HELP_COLUMN, "  --help", "this text");
}

bool rb_options_parse(const struct rb_usage *usage, int argc, char **argv, struct rb_texts *ret_operands, int *ret_exit)
{
    struct rb_texts none;
    struct rb_error err = {0};
    bool help;
    if (rb_options_read(usage, argc, argv, ret_operands ? ret_operands : &none, &help, &err) != RB_OK) {
        *ret_exit = rb_complain_of_usage(usage->command, &err);
        return false;
    }
    if (!help)
        return true;
    struct rb_str text = RB_STR_INIT;
    rb_options_help(usage, &text);
    *ret_exit = rb_print(&text);
    return false;
}
