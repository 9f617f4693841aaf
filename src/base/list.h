/* List: a circular, intrusive, doubly linked list. A head and an unlinked node point to themselves. Nothing is
 * owned. */
#ifndef RB_LIST_H
#define RB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct rb_list {
    struct rb_list *prev, *next;
};

#define RB_LIST_INIT(list) ((struct rb_list){&(list), &(list)})
#define RB_CONTAINER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
#define RB_LIST_EACH(head, node) for (struct rb_list *node = (head)->next; node != (head); node = node->next)
/* Allows unlinking `node` in the body. */
#define RB_LIST_EACH_SAFE(head, node)                                                    \
    for (struct rb_list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

static inline void rb_list_init(struct rb_list *list)
{
    list->prev = list->next = list;
}

static inline bool rb_list_empty(const struct rb_list *list)
{
    return list->next == list;
}

static inline bool rb_list_linked(const struct rb_list *node)
{
    return node->next != node;
}

/* Adds an unlinked node at the end. */
static inline void rb_list_push(struct rb_list *head, struct rb_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Unlinks; does nothing to an unlinked node. */
static inline void rb_list_remove(struct rb_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    rb_list_init(node);
}

/* Takes the first node off, or NULL. */
static inline struct rb_list *rb_list_pop(struct rb_list *head)
{
    if (rb_list_empty(head))
        return NULL;
    struct rb_list *node = head->next;
    rb_list_remove(node);
    return node;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void rb_list_append_all(struct rb_list *to, struct rb_list *from)
{
    if (rb_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    rb_list_init(from);
}

#endif
