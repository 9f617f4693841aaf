/* Fault VFS: the system's files behind version-1 methods (no shared memory, as the simulator's), whose n-th call from
 * now on fails. */
#ifndef RB_FAULT_VFS_H
#define RB_FAULT_VFS_H

#define FAULT_VFS "fault"

struct rb_fault {
    int countdown; /* the call that fails; 0: none; counts down to it */
    int result;    /* what it returns */
    int more;      /* further calls that fail too; -1: all */
    enum { FAULT_ANY, FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE } kind; /* ANY: writes, syncs and truncations */
    int hits;
};
extern struct rb_fault fault;

void fault_vfs_register(void);

#endif
