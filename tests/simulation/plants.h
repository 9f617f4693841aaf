/* Plants: bugs put into the shipped objects on purpose, to see the simulation find them. They live in the linker
 * (--wrap) and in the ports, never in the product: the plain simulation is linked without any. */
#ifndef RB_PLANTS_H
#define RB_PLANTS_H

#include "world.h"

bool plant_choose(const char *name); /* false: no such plant */
bool planted(void);
void plant_into(struct world_config *config);
/* 1 when every connection looks like the same one, so that a lost answer counts as confirmed. */
int planted_same_connection(void);

#endif
