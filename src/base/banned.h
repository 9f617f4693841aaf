/* Forbidden functions. This header is included ahead of every file by the build, so that using one of them is a
 * compile error: they write without a bound, or parse without saying that they failed. */
#ifndef RB_BANNED_H
#define RB_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef alloca
#pragma GCC poison strcpy strcat stpcpy strncpy strncat sprintf vsprintf gets strtok alloca
#pragma GCC poison atoi atol atoll atof

#endif
